from __future__ import annotations

import numpy as np
import pytest

from ecgmoe_edge.contract import SHAPES
from ecgmoe_edge.model.macs import count_macs, relative_costs
from ecgmoe_edge.model.morphology_experts import LightMorphologyExpert, MorphologyExpert, morphology_expert
from ecgmoe_edge.model.student import Student, StudentConfig
from ecgmoe_edge.tasks import BEAT_ANSWERS


def test_the_multiplications_of_nano_are_those_counted_by_hand() -> None:
    config = StudentConfig.named("nano", morphology_widths=(0.0, 0.25, 1.0), tasks=("beat",))
    w, d, (features,), classes = config.waveform, config.dim, SHAPES["features"], len(BEAT_ANSWERS)
    macs = count_macs(config)
    n = (SHAPES["beat"][-1] + 1) // 2  # length of the stem's output, halved by each convolution of the full expert
    half, quarter = (n + 1) // 2, ((n + 1) // 2 + 1) // 2
    stem = n * w * 2 * 7
    sequence = 16 * w * 2 * 5 + 8 * w * w * 3
    dense = 2 * w * 2 * d + features * 2 * d
    routers_and_gate = (w + 2 * d) * 3 + 2 * d * 2 + (w + 2 * d) * 2
    assert macs.trunk == stem + sequence + dense + routers_and_gate
    full = half * 2 * w * w * 5 + quarter * 3 * w * 2 * w * 5 + 12 * w * d
    assert macs.experts["morphology"][0] == 4 * w * d
    assert macs.experts["morphology"][-1] == full
    assert macs.experts["rhythm"] == (3 * d * d, 3 * d * d)
    assert macs.tail == 2 * (2 * d * 2 * d) + (2 * classes - 1) * d  # both paths through the fusion block, and the head


@pytest.mark.parametrize("width", ["nano", "small", "base"])
def test_the_cheap_experts_cost_a_small_part_of_the_full_one(width: str) -> None:
    config = StudentConfig.named(width, morphology_widths=(0.0, 0.25, 1.0))
    macs = count_macs(config)
    cheapest, middle, full = macs.experts["morphology"]
    assert cheapest < 0.02 * full
    assert middle < 0.2 * full
    assert macs.most < 1.01 * count_macs(config.dense_twin()).most


def test_the_beats_of_a_route_cost_the_experts_on_it() -> None:
    macs = count_macs(StudentConfig.named("nano", morphology_widths=(0.0, 0.25, 1.0)))
    logits = {"route_morphology": np.eye(3, dtype=np.float32), "route_rhythm": np.zeros((3, 2), np.float32)}
    routes = {path: logits[f"route_{path}"].argmax(1) for path in ("morphology", "rhythm")}
    each = macs.of_beats(routes)
    assert each.tolist() == [macs.trunk + macs.tail + e + 768 for e in macs.experts["morphology"]]
    assert macs.mean(logits) == pytest.approx(each.mean())
    assert each.max() == macs.most


def test_experts_of_equal_size_have_no_relative_cost() -> None:
    config = StudentConfig.named("nano", morphology_widths=(1.0, 1.0))
    assert relative_costs(count_macs(config).experts["morphology"]) == (0.0, 0.0)


def test_an_expert_of_full_width_has_the_channels_of_the_dense_twin_and_narrow_ones_multiples_of_four() -> None:
    for waveform in (8, 64, 80):
        for width in (0.1, 0.25, 0.5, 1.0):
            expert = morphology_expert(waveform, 16, 0.0, width)
            assert isinstance(expert, MorphologyExpert)
            channels = expert.first.conv.out_channels, expert.second.conv.out_channels
            assert all(n % 4 == 0 and n >= 4 for n in channels)
        assert channels == (2 * waveform, 3 * waveform)
    assert isinstance(morphology_expert(8, 16, 0.0, 0.0), LightMorphologyExpert)


@pytest.mark.parametrize("samples", [72, 80, 82, 89, 103])
def test_the_experts_fit_windows_of_other_lengths(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "beat", (2, samples))
    count_macs.cache_clear()
    student = Student(StudentConfig.named("nano", morphology_widths=(0.0, 0.25, 1.0)))
    assert count_macs(student.config).most > 0
    for expert in student.morphology:
        _, kernel = expert.pool.kernel_size  # type: ignore[union-attr,misc]
        assert int(kernel) % 2 == 1  # the mean of an odd number of integers has no tie
    count_macs.cache_clear()

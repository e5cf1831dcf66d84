from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.converters.parity import ParityLimits, compare, enforce
from ecgmoe_edge.errors import GateFailed, SignalError
from ecgmoe_edge.runtime.manifest import Gate

LIMITS = ParityLimits(logit_difference=0.5, route_agreement=0.9, label_agreement=0.9)


def outputs(n: int = 10) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return {
        name: rng.standard_normal((n, 4)).astype(np.float32) * 5
        for name in ("beat", "rhythm", "route_morphology", "route_rhythm")
    }


def test_a_model_compared_with_itself_passes_all_gates() -> None:
    report = compare(outputs(), outputs())
    assert (report.beats, report.route_agreement, report.logit_difference) == (10, 1.0, 0.0)
    assert report.label_agreement == {"beat": 1.0, "rhythm": 1.0}
    gates = report.gates(LIMITS, "random numbers")
    enforce(gates)
    assert [gate.status for gate in gates] == ["passed"] * 3


def test_logits_are_compared_only_for_beats_with_the_same_route() -> None:
    other = outputs()
    other["route_rhythm"][3] = -other["route_rhythm"][3]
    other["beat"][3] += 7.0
    other["rhythm"][5] += 0.25
    report = compare(outputs(), other)
    assert report.route_agreement == pytest.approx(0.9)
    assert report.logit_difference == pytest.approx(0.25, abs=1e-5)
    assert report.label_agreement["beat"] == 1.0  # all logits of beat 3 were raised by the same amount


def test_the_label_gate_uses_the_worst_task() -> None:
    other = outputs()
    other["rhythm"][:2] = -other["rhythm"][:2]
    gates = {gate.name: gate for gate in compare(outputs(), other).gates(LIMITS, "random numbers")}
    assert gates["label agreement"].value == pytest.approx(0.8)
    assert gates["label agreement"].status == "failed"


def test_the_logit_gate_fails_if_no_beat_has_the_same_route() -> None:
    other = outputs()
    other["route_rhythm"] = -other["route_rhythm"]
    report = compare(outputs(), other)
    assert np.isnan(report.logit_difference)
    assert report.gates(LIMITS, "random numbers")[2].status == "failed"


def test_the_message_of_a_failed_gate_has_value_limit_and_remedy() -> None:
    gates = (
        Gate.not_run("V F1 lost", "no data"),
        Gate.judge("route agreement", 0.5, 0.97, "at least", data="random numbers"),
    )
    with pytest.raises(GateFailed, match=r"route agreement is 0\.5 and must be at least 0\.97.*Use quantization"):
        enforce(gates)


def test_models_with_different_outputs_or_no_beats_are_refused() -> None:
    fewer = outputs()
    del fewer["rhythm"]
    with pytest.raises(SignalError, match="rhythm"):
        compare(outputs(), fewer)
    with pytest.raises(SignalError, match="no beat"):
        compare(outputs(0), outputs(0))


def test_differing_beats_are_listed_with_different_routes_first() -> None:
    other = outputs()
    other["route_rhythm"][3] = -other["route_rhythm"][3]
    other["beat"][5] = -other["beat"][5]
    report = compare(outputs(), other)
    assert [one.beat for one in report.differences] == [3, 5]
    first, second = report.differences
    assert set(first.chosen) == {"route_rhythm"}
    sentence = second.describe("100 at 4.2 s", {"beat": ("N", "S", "V", "F")})
    before, after = (outputs()["beat"][5].argmax(), other["beat"][5].argmax())
    assert sentence.startswith(f"100 at 4.2 s: beat {'NSVF'[before]} -> {'NSVF'[after]}, logits differ by ")
    with pytest.raises(GateFailed, match=r"Beats: a; b\.$"):
        enforce([Gate.judge("x", 0.0, 1.0, "at least", data="y")], ["a", "b"])
    with pytest.raises(GateFailed, match="and 12 more"):
        enforce([Gate.judge("x", 0.0, 1.0, "at least", data="y")], [str(i) for i in range(20)])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("output", ["beat", "rhythm", "route_morphology", "route_rhythm"])
@pytest.mark.parametrize("sides", [("reference",), ("exported",), ("reference", "exported")])
def test_one_output_that_is_not_finite_fails(sides: tuple[str, ...], output: str, value: float) -> None:
    """One beat in a thousand is too few for the agreement gates; it must fail even if both models have the fault."""
    both = {"reference": outputs(1000), "exported": outputs(1000)}
    for side in sides:
        both[side][output][17, 2] = value
    report = compare(both["reference"], both["exported"])
    gates = report.gates(LIMITS, "random numbers")
    assert [gate.status for gate in gates] == ["passed", "passed", "failed"]
    assert report.differences[0].beat == 17
    sentence = report.differences[0].describe("100 at 4.2 s", {"beat": ("N", "S", "V", "F")})
    assert sentence.endswith("an output is not finite")
    with pytest.raises(GateFailed, match="logit difference is not finite and must be at most"):
        enforce(gates)


def test_outputs_that_are_all_nan_fail_every_gate() -> None:
    nothing = {name: np.full_like(value, np.nan) for name, value in outputs().items()}
    report = compare(nothing, nothing)
    assert (report.route_agreement, set(report.label_agreement.values())) == (0.0, {0.0})
    assert [gate.status for gate in report.gates(LIMITS, "random numbers")] == ["failed"] * 3
    assert len(report.differences) == 10

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs it")

from ecgmoe_edge.cli.distill import distill
from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.training import run
from ecgmoe_edge.training.config import TrainingConfig, load_config


@pytest.mark.parametrize(("given", "used"), [(None, load_config().distil.cost_weight), (0.5, 0.5), (0.0, 0.0)])
def test_the_weight_of_the_cost_can_be_given_for_one_run(
    given: float | None, used: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configurations: list[TrainingConfig] = []

    def record(config: TrainingConfig, *_: Any, **__: Any) -> Path:
        configurations.append(config)
        return tmp_path / "student-nano.safetensors"

    monkeypatch.setattr(run, "distill", record)
    distill(cost_weight=given, data=tmp_path, out=tmp_path / "run", width="nano", float_only=True)
    assert [config.distil.cost_weight for config in configurations] == [used]


def test_the_sizes_of_the_experts_can_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    def record(*_: Any, morphology_widths: object, **__: Any) -> Path:
        given.append(morphology_widths)
        return tmp_path / "student-nano.safetensors"

    monkeypatch.setattr(run, "distill", record)
    for text in (None, "0,0.25,0.5"):
        distill(morphology_widths=text, data=tmp_path, out=tmp_path / "run", width="nano", float_only=True)
    assert given == [None, (0.0, 0.25, 0.5)]
    with pytest.raises(UsageError, match="is no list of numbers: give, for example"):
        distill(morphology_widths="a,b", data=tmp_path, out=tmp_path / "run", width="nano", float_only=True)
    with pytest.raises(UsageError, match="--student has its experts already"):
        distill(morphology_widths="0,1", student=tmp_path / "s.safetensors", data=tmp_path, out=tmp_path / "run")

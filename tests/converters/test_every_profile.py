from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ecgmoe_edge.converters import every_profile as module
from ecgmoe_edge.converters.every_profile import Row, export_every, table
from ecgmoe_edge.converters.export import ExportRequest
from ecgmoe_edge.device_profiles import load_profile
from ecgmoe_edge.errors import GateFailed, ModelError


def requests(*names: str) -> Iterator[ExportRequest]:
    return (ExportRequest(Path("none"), load_profile(name)) for name in names)


def test_after_a_failed_gate_the_other_profiles_are_still_exported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def export(request: ExportRequest, out: Path) -> Any:
        if request.profile.name == "jetson":
            raise GateFailed("size is 3.0")
        entry = SimpleNamespace(precision="int8", why_precision="as the profile says")
        manifest = SimpleNamespace(model=entry, width="nano", metrics=())
        return SimpleNamespace(manifest=manifest, model=SimpleNamespace(bytes=30_000), folder=out)

    monkeypatch.setattr(module, "export_model", export)
    rows = [row for row, _ in export_every(requests("jetson", "cortex-m4"), tmp_path)]
    assert [row.passed for row in rows] == [False, True]
    assert rows[0].why == "size is 3.0"
    assert rows[1].folder == str(tmp_path / "cortex-m4")
    assert rows[1].time_ratio is None  # the speed of a microcontroller cannot be measured on this machine


def test_any_other_error_ends_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def export(*_: object) -> Any:
        raise ModelError("no weights")

    monkeypatch.setattr(module, "export_model", export)
    with pytest.raises(ModelError):
        list(export_every(requests("jetson"), tmp_path))


def test_the_table_marks_unmeasured_values_and_failed_profiles() -> None:
    rows = [
        Row("a", "onnxruntime", "small", "int8", 153_000, 0.4, {"S F1": 0.25, "V F1": -0.1}, "", "./a"),
        Row("b", "tflite-micro", "nano", "int8", 30_000, None, None, "", "./b"),
        Row("c", "litert", "small", why="route agreement is 0.9"),
    ]
    head, first, second, third = table(rows).splitlines()
    assert head.split()[:5] == ["profile", "runtime", "width", "precision", "bytes"]
    assert "153,000" in first
    assert "0.40" in first
    assert "S 0.25, V -0.10" in first
    assert second.count("unmeasured") == 2
    assert third.endswith("FAILED")

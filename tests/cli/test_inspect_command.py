"""What `inspect` says of the shipped bundle, and the picture that it draws."""

from __future__ import annotations

import json

import pytest
from installed_command import Cli

pytest.importorskip("onnx")


def test_the_shipped_bundle_is_taken_apart_and_its_experts_counted(cli: Cli) -> None:
    done = cli("inspect", "--json", "--graph", "model.svg")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    parts = {part["name"]: part for part in told["anatomy"]["parts"]}
    for path, count in told["model"]["experts"].items():
        assert {f"{path}_{index}" for index in range(count)} <= set(parts)
        assert sum(told["expert_shares"][path]) == pytest.approx(1.0)
    assert sum(part["parameters"] for part in parts.values()) == told["model"]["parameters"]
    assert told["anatomy"]["macs_per_beat"] < sum(part["macs"] for part in parts.values())
    picture = (cli.folder / "model.svg").read_text()
    assert picture.startswith("<svg ")
    assert "morphology_0" in picture


def test_a_picture_of_another_kind_is_refused(cli: Cli) -> None:
    done = cli("inspect", "--graph", "model.jpg")
    assert done.code == 2
    assert ".svg" in done.err.splitlines()[-1]
    assert not (cli.folder / "model.jpg").exists()

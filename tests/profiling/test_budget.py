"""Comparison of measured figures with the limits of a profile."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as with_fields

from ecgmoe_edge.device_profiles import Profile, load_profile
from ecgmoe_edge.errors import GateFailed, ProfileError
from ecgmoe_edge.profiling import Limit, ProfileReport, budget_of, profile_bundle, render_text


@pytest.fixture(scope="module")
def measured(tiny_bundle_folder: Path) -> ProfileReport:
    return profile_bundle(tiny_bundle_folder, seconds=20.0)


@pytest.fixture
def report(measured: ProfileReport) -> ProfileReport:
    """A report with given figures: 2 ms per inference, 290 ms label delay, 200 times real time, 100 MiB."""
    stages = {**measured.stages, "inference": replace(measured.stages["inference"], p95=2.0)}
    machine = replace(measured.machine, architecture="x86_64")
    return replace(
        measured,
        stages=stages,
        label_delay_ms_p95=290.0,
        real_time_factor=200.0,
        peak_memory_mib=100.0,
        machine=machine,
    )


def profile_with(name: str = "generic-cpu", peak_kib: int = 262_144, **latency: float) -> Profile:
    held = load_profile(name)
    return with_fields(
        held, latency=with_fields(held.latency, **latency), memory=with_fields(held.memory, peak_kib=peak_kib)
    )


def verdicts(report: ProfileReport, profile: Profile | None = None) -> dict[str, str]:
    return {limit.name: limit.verdict for limit in budget_of(report, profile).limits}


def test_the_bundle_s_own_profile_gives_the_limits(report: ProfileReport) -> None:
    budget = budget_of(report)
    assert budget.profile == "generic-cpu"
    assert [(each.name, each.value, each.limit, each.unit, each.verdict) for each in budget.limits] == [
        ("inference p95", 2.0, 5.0, "ms", "within"),
        ("label delay p95", 290.0, 600.0, "ms", "within"),
        ("real time", 200.0, 100.0, "times", "within"),
        ("peak memory", 102_400.0, 262_144, "KiB", "within"),
    ]
    budget.enforce()


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"inference_ms_p95": 1.9}, "inference p95"),
        ({"label_delay_ms_p95": 289.0}, "label delay p95"),
        ({"real_time_factor": 201.0}, "real time"),
        ({"peak_kib": 102_399}, "peak memory"),
    ],
)
def test_each_limit_can_be_exceeded_on_its_own(report: ProfileReport, changed: dict[str, Any], name: str) -> None:
    profile = profile_with(**changed)
    assert {key for key, verdict in verdicts(report, profile).items() if verdict == "over"} == {name}
    with pytest.raises(GateFailed, match=f"profile generic-cpu is exceeded: {name} "):
        budget_of(report, profile).enforce()


def test_a_value_equal_to_its_limit_is_within() -> None:
    assert Limit.of("x", 5.0, 5.0, "ms").verdict == "within"
    assert Limit.of("x", 5.0, 5.0, "times", "at least").verdict == "within"


def test_a_value_that_was_not_measured_is_neither_within_nor_over(report: ProfileReport) -> None:
    bare = replace(report, peak_memory_mib=None)
    budget = budget_of(bare)
    assert budget.limits[-1].verdict == "not measured"
    assert budget.to_json()[-1]["value"] == "not measured"
    assert "not measured" in render_text(bare, budget).splitlines()[-1]
    budget.enforce()
    # A microcontroller's limit concerns its tensor arena, not the memory of this process.
    assert verdicts(report, load_profile("cortex-m4"))["peak memory"] == "not measured"


def test_the_label_delay_is_measured_in_samples(measured: ProfileReport) -> None:
    assert measured.label_delay_ms_p95 is not None
    assert 200.0 < measured.label_delay_ms_p95 < 2000.0


def test_a_machine_other_than_the_board_is_reported(report: ProfileReport) -> None:
    jetson = load_profile("jetson")
    assert "which is not the board: NVIDIA Jetson" in budget_of(report, jetson).machine
    same = replace(report, machine=replace(report.machine, architecture="aarch64"))
    assert "was not checked" in budget_of(same, jetson).machine


def test_a_bundle_with_an_unknown_profile_has_no_budget(report: ProfileReport) -> None:
    own = replace(report, bundle={**report.bundle, "profile": "my-board"})
    budget = budget_of(own)
    assert budget.limits == ()
    assert "my-board" in render_text(own, budget)
    assert "this program has no profile of that name" in render_text(own, budget)
    with pytest.raises(ProfileError, match="--profile"):
        budget.enforce()


def test_each_limit_has_one_line_of_text_and_one_json_mapping(report: ProfileReport) -> None:
    budget = budget_of(report)
    lines = render_text(report, budget).splitlines()
    assert lines[-4].split() == ["inference", "p95", "2", "ms", "at", "most", "5", "ms", "within"]
    assert max(len(line) for line in lines) <= 120
    held = json.loads(json.dumps(report.to_json(budget), allow_nan=False))
    assert [set(each) >= {"name", "value", "limit", "unit", "verdict"} for each in held["budget"]] == [True] * 4
    assert held["budget_of"]["profile"] == "generic-cpu"

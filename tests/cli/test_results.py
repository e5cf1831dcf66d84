"""Output of the commands that measure and describe."""

from __future__ import annotations

import json
from pathlib import Path

from installed_command import Cli

SIX = {"se", "ppv", "f1", "tp", "fn", "fp"}


def test_evaluate_prints_one_object_with_the_figures_of_r_peaks_and_beats(cli: Cli, mitdb: Path) -> None:
    done = cli("evaluate", "--data", mitdb, "--records", "100,119", "--jobs", "2", "--json", "--annotations", "ours")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["records"] == 2
    assert set(result) >= {"skipped_records", "rpeaks", "beats", "confusion", "S_without_232", "per_record", "delay_ms"}
    assert set(result["rpeaks"]) == {"150ms", "50ms"}
    assert set(result["rpeaks"]["150ms"]) == SIX == set(result["beats"]["V"]) - {"false_no_beat"}
    assert result["rpeaks"]["150ms"]["f1"] >= 99.5
    assert result["beats"]["V"]["f1"] >= 80
    assert set(result["delay_ms"]["label"]) == {"p50", "p95", "max"}
    assert result["delay_ms"]["label"]["p95"] <= 300
    assert {path.name for path in (cli.folder / "ours").iterdir()} == {"100.ecgmoe", "119.ecgmoe"}


def test_evaluate_of_r_peaks_needs_no_bundle_and_prints_a_table(cli: Cli, mitdb: Path) -> None:
    done = cli("evaluate", "--data", mitdb, "--records", "100", "--only", "rpeaks", "--whole")
    assert done.code == 0, done.err
    assert "R peaks, 150ms" in done.out
    assert "1/1 100" in done.err


def test_profile_gives_latency_throughput_and_memory(cli: Cli) -> None:
    done = cli("profile", "--seconds", "30", "--json")
    assert done.code == 0, done.err
    text = done.out
    assert json.loads(text)
    assert [word for word in ("p50", "p95", "p99", "real_time", "memory") if word not in text] == []
    assert cli("profile", "--seconds", "30").code == 0


def test_profiles_lists_the_boards(cli: Cli) -> None:
    names = [profile["name"] for profile in json.loads(cli("profiles", "--json").out)]
    assert names == ["cortex-m4", "generic-cpu", "jetson", "raspberry-pi"]
    assert [name for name in names if name not in cli("profiles").out] == []


def test_ports_prints_a_list(cli: Cli) -> None:
    assert isinstance(json.loads(cli("ports", "--json").out), list)
    assert cli("ports").code == 0


def test_inspect_describes_the_shipped_bundle(cli: Cli) -> None:
    manifest = json.loads(cli("inspect", "--json").out)
    assert manifest["classes"]["beat"] == ["N", "S", "V", "F"]
    text = cli("inspect").out
    assert [
        name
        for name in ("not a medical device", "experts", "gates", "sha256", "ODC-By")
        if name.lower() not in text.lower()
    ] == []
    assert [gate["name"] for gate in manifest["gates"] if gate["name"] not in text] == []

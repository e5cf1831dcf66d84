"""`ecgmoe-edge evaluate` with noise and tables, run as installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("wfdb", reason="records need the records extra")


def _evaluate(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("ecgmoe-edge"), "evaluate", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


def test_noise_adds_one_key_and_a_table(write_noisy_set: Callable[..., Path], tmp_path: Path) -> None:
    words = ("--data", write_noisy_set("1") / "mitdb", "--only", "rpeaks", "--jobs", "1", "--json")
    done = _evaluate(*words, "--noise", "em", "--snr", "-9,30", "--csv", tmp_path / "tables")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["rpeaks"]["150ms"]["f1"] == 100.0  # the record as it is
    assert figures["noise"]["kind"] == "em"
    assert list(figures["noise"]["snr_db"]) == ["-9", "30"]
    for evaluation in figures["noise"]["snr_db"].values():
        assert set(evaluation["rpeaks"]["150ms"]) == {"se", "ppv", "f1", "tp", "fn", "fp"}
    assert figures["noise"]["snr_db"]["-9"]["rpeaks"]["150ms"]["f1"] < 99.0
    assert {file.name for file in (tmp_path / "tables").iterdir()} == {"records.csv", "classes.csv", "noise.csv"}
    assert "1/1 1 at -9 dB" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--snr", "6"), "--noise"),
        (("--noise", "em", "--snr", "6,loud"), "numbers in dB"),
        (("--noise", "pop"), "pop"),
    ],
)
def test_bad_noise_is_refused_with_a_sentence(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = _evaluate("--data", tmp_path, *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr

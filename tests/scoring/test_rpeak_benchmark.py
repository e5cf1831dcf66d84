"""The R-peak benchmark, run from the command line on a small folder of simulated recordings."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("wfdb", reason="records need the records extra")
pytest.importorskip("sleepecg", reason="peers need the dev extra")
pytest.importorskip("tqdm", reason="the progress bar needs the train extra")
pytest.importorskip("matplotlib", reason="the plot needs the train extra")

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "rpeaks.py"


def _main(monkeypatch: pytest.MonkeyPatch, module: str, *arguments: str | Path) -> None:
    """Run a script in this process, as `python -m module` would."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setattr(sys, "argv", [module, *map(str, arguments)])
    importlib.import_module(module).main()


def test_detectors_are_compared_in_json_table_and_plot(
    write_noisy_set: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = write_noisy_set("118", "119")
    page = tmp_path / "docs" / "rpeaks.md"
    page.parent.mkdir()
    page.write_text("before\n<!-- begin mitdb -->\nunmeasured\n<!-- end mitdb -->\nafter\n")
    arguments = ("--data", data, "--jobs", "1", "--without", "xqrs", "--without", "neurokit", "--noise", "em")
    command: list[str | Path] = [sys.executable, SCRIPT, *arguments, "--snr=-10", "--json", "--out", page.parent]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert list(figures) == ["ours", "sleepecg", "pantompkins1985"]
    for row in figures.values():
        assert set(row) >= {"se150", "ppv150", "se50", "ppv50", "hours_per_s", "delay_ms"}
        assert row["se150"] > 95.0
        assert row["hours_per_s"] > 0
        assert list(row["noise"]["em"]) == ["-10"]
        assert row["noise"]["em"]["-10"]["f1"] < row["f1150"]
    assert figures["ours"]["se150"] == figures["ours"]["ppv150"] == 100.0
    assert set(figures["ours"]["delay_ms"]) == {"mean", "p95"}
    assert all(0 < delay < 500 for delay in figures["ours"]["delay_ms"].values())
    assert figures["sleepecg"]["delay_ms"] is None
    assert figures["ours"]["live_times_real_time"] > 1.0

    text = page.read_text()
    assert text.startswith("before\n<!-- begin mitdb -->\n`python benchmarks/rpeaks.py --jobs 1 --without xqrs")
    assert text.endswith("![Errors and F1 under noise by detector](rpeaks-mitdb.png)\n<!-- end mitdb -->\nafter\n")
    assert str(tmp_path) not in text
    assert "| ours | 100.00 | 100.00 |" in text
    assert (page.parent / "rpeaks-mitdb.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((page.parent / "rpeaks-mitdb.json").read_text()) == figures

    # The page writer alone makes the same page from the figures.
    again = tmp_path / "again" / "rpeaks.md"
    again.parent.mkdir()
    again.write_text("before\n<!-- begin mitdb -->\n<!-- end mitdb -->\nafter\n")
    (tmp_path / "figures.json").write_text(done.stdout)
    figures_file, command_shown = tmp_path / "figures.json", text.split("`")[1]
    shown = ("--name", "mitdb", "--command", command_shown, "--out", again.parent)
    _main(monkeypatch, "tools.rpeaks_page", figures_file, *shown)
    assert again.read_text() == text


def test_bad_arguments_are_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="3"):
        _main(monkeypatch, "benchmarks.rpeaks", "--data", tmp_path / "empty", "--records", "100")
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(SystemExit, match="2"):
        _main(monkeypatch, "benchmarks.rpeaks", "--jobs", "0")

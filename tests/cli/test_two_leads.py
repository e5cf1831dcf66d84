"""A device with two leads on a pseudo-terminal: both are used, and the failure of one is reported and loses no beat."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from installed_command import Cli

from ecgmoe_edge.calibration_data import load_calibration

SECONDS = 60


def write_two_leads(folder: Path, *, lost: slice) -> float:
    """Write the shipped lead, without `lost`, and its half, inverted, as a CSV in mV; returns the rate."""
    shipped = load_calibration()
    first = shipped.signal[0, : round(SECONDS * shipped.fs)].copy()
    second = -0.5 * first
    first[lost] = np.nan
    rows = (f"{'' if np.isnan(a) else f'{a:.4f}'},{b:.4f}" for a, b in zip(first, second, strict=True))
    (folder / "two.csv").write_text("\n".join(("II,V1", *rows)) + "\n")
    return shipped.fs


def test_a_lost_lead_is_reported_and_loses_no_beat(cli: Cli) -> None:
    fs = write_two_leads(cli.folder, lost=slice(7200, 12600))
    replay = cli.start("replay", "two.csv", "--fs", str(fs), "--pty", "holter", "--speed", "0", "--json")
    deadline = time.monotonic() + 60
    while not (port := cli.folder / "holter").exists():
        assert time.monotonic() < deadline, "the virtual Holter made no port"
        time.sleep(0.02)
    done = cli("stream", "--port", port, "--json")
    assert done.code == 0, done.err
    assert replay.finish().code == 0
    events = done.events
    end = events[-1]
    assert (end["event"], end["samples"], end["lost"], end["unusable"]) == ("end", round(SECONDS * fs), 0, 0)
    assert end["link"]["leads"] == ["II", "V1"]
    changes = [(event["leads"], event["others"]) for event in events if event["event"] == "lead_change"]
    assert changes[0] == (["V1"], {"II": "nan"})
    assert changes[-1] == (["II", "V1"], {})
    beats = [event for event in events if event["event"] == "beat"]
    # The first beat is within 400 ms of the start: it may be a T wave, and no RR interval starts with it.
    assert [beat["rr_ms"] is None for beat in beats].index(False) == 2
    assert [beat["rr_ms"] is None for beat in beats].count(True) == 2
    assert {beat["lead"] for beat in beats if 22 < beat["time_s"] < 34} == {"V1"}
    assert {beat["lead"] for beat in beats if beat["time_s"] < 19 or beat["time_s"] > 42} == {"II"}
    assert max(beat["rr_ms"] for beat in beats[2:]) < 1500
    assert {beat["label"] for beat in beats} <= {"N", "S", "V", "F", "?"}

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.live import JsonLinesSink, Sink, TerminalSink, render_summary
from ecgmoe_edge.live.sinks.terminal import HEADER, clock, line_of
from ecgmoe_edge.streaming.events import (
    Beat,
    BeatReason,
    Clock,
    End,
    Event,
    FallingBehind,
    Flatline,
    Gap,
    LeadOff,
    Reconnect,
    Rhythm,
    Stall,
    to_json,
)
from ecgmoe_edge.streaming.monitor import Monitor

BEAT = Beat(
    sample=4500,
    time_s=12.5,
    rr_ms=800.0,
    label="V",
    scores={"N": 0.03, "S": 0.01, "V": 0.95, "F": 0.01},
    experts={"morphology": 2, "rhythm": 0},
    quality=0.93,
    detection_delay_ms=120.0,
    delay_ms=286.1,
    compute_ms=0.31,
)
END = End(
    samples=108_000,
    lost=36,
    unusable=0,
    gaps=1,
    bridged=0,
    duration_s=300.1,
    beats={"N": 400, "S": 3, "V": 80, "F": 20, "?": 1},
    mean_heart_rate_bpm=101.25,
    delay_ms={"p50": 286.1, "p95": 287.8, "p99": 455.0},
    compute_ms={"p50": 0.31, "p95": 0.42, "p99": 0.6},
    link={"frames": 3000, "bad_frames": 2, "port": {"name": "x"}},
)
OTHERS: list[Event] = [
    Rhythm("AF", 10.0, None),
    Rhythm("pause", 10.0, 12.5, "RR > 2000 ms"),
    Gap(360, 1.0, 36, "link"),
    Gap(360, 1.0, None, "reconnect"),
    Stall(360, 1.0, 2.5),
    Reconnect(360, 1.0, 3.5, "/dev/ttyACM0"),
    Gap(360, 1.0, 36, "link", at_least=True),
    FallingBehind(360, 1.0, 301.0, 600.0),
    Clock(360, 1.0, 1.7e9, None),
    Clock(360, 1.0, 1.7e9, -21.4),
    LeadOff(360, 1.0, ("II",)),
    LeadOff(360, 1.0, ()),
    Flatline(360, 1.0, 1.5, "rail", 540),
]


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """Twenty seconds of a real recording, R peaks only, with a gap in it."""
    recording = load_calibration()
    monitor = Monitor(None, recording.fs, recording.leads)
    half = round(10 * recording.fs)
    signal = recording.signal
    return [
        *monitor.push(signal[:, :half]),
        *monitor.gap(36, "link"),
        *monitor.push(signal[:, half : 2 * half]),
        *monitor.flush(),
    ]


def test_every_event_is_one_line_of_strict_json_and_nothing_is_lost(events: list[Event]) -> None:
    stream = io.StringIO()
    sink: Sink = JsonLinesSink(stream)
    for event in [*events, *OTHERS, END]:
        sink.write(event)
    sink.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(events) + len(OTHERS) + 1
    for line, event in zip(lines, [*events, *OTHERS, END], strict=True):
        assert json.loads(line) == json.loads(json.dumps(to_json(event)))
        assert "NaN" not in line


def test_a_number_that_json_does_not_have_is_never_written() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError):
        JsonLinesSink(stream).write(Stall(0, 0.0, float("nan")))
    assert stream.getvalue() == ""


def test_a_line_is_flushed_with_its_event() -> None:
    code = (
        "import sys, time; from ecgmoe_edge.live import JsonLinesSink; from ecgmoe_edge.streaming.events import Stall\n"
        "JsonLinesSink(sys.stdout).write(Stall(1, 0.5, 2.0)); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["waited_s"] == 2.0
        process.kill()


def test_a_terminal_shows_one_line_per_beat_under_one_header(events: list[Event]) -> None:
    stream = io.StringIO()
    sink: Sink = TerminalSink(stream)
    for event in events:
        sink.write(event)
    lines = stream.getvalue().splitlines()
    assert lines[0] == HEADER
    assert len(lines) == len(events) + 1
    assert all(len(line) <= 100 and line.isprintable() for line in lines)
    assert sum("  R  " in line for line in lines) == sum(isinstance(event, Beat) for event in events) > 25
    assert any("gap: 36 samples lost (link)" in line for line in lines)
    assert lines[-1].endswith("end: 7,200 samples received, 36 lost")


def test_a_beat_line_shows_label_time_and_delay() -> None:
    line = line_of(BEAT)
    assert line.split() == ["0:12.50", "V", "0.95", "800", "75", "0.93", "286"]
    first = replace(BEAT, rr_ms=None, label="?", search_back=True)
    assert line_of(first).split()[:3] == ["0:12.50", "?", "0.93"]
    assert line_of(first).endswith("found by search-back")


@pytest.mark.parametrize(
    ("reason", "words", "score"),
    [
        ("incomplete", "incomplete window", False),
        ("no QRS", "no QRS complex", False),
        ("quality", "poor quality", False),
        ("model", "unusable model output", False),
        ("artefact", "artefact", True),
    ],
)
def test_a_beat_line_shows_why_a_beat_has_no_class(reason: BeatReason, words: str, score: bool) -> None:
    beat = replace(BEAT, label="?", scores={**BEAT.scores, "?": 0.88}, reason=reason)
    assert line_of(beat).endswith(f"  {words}")
    assert ("0.88" in line_of(beat)) == score  # of a beat that is not an artefact, it is no score of the label
    assert line_of(replace(beat, search_back=True)).endswith(f"  {words}, found by search-back")


def test_the_summary_counts_the_artefacts_among_the_beats_without_a_class() -> None:
    assert "N 400, S 3, V 80, F 20, ? 1\n" in render_summary(END)
    assert "F 20, ? 1, of these 1 artefact\n" in render_summary(replace(END, artefacts=1))


def test_each_other_event_has_its_line() -> None:
    lines = [line_of(event) for event in OTHERS]
    for line, words in zip(
        lines,
        (
            "rhythm AF begins",
            "rhythm pause ends after 2.5 s (RR > 2000 ms)",
            "gap: 36 samples lost (link)",
            "gap: an unknown number of samples lost (reconnect)",
            "stall: no samples for 2.5 s",
            "reconnect: /dev/ttyACM0 was gone for 3.5 s",
            "gap: at least 36 samples lost (link)",
            "falling behind: 301 s of signal are waiting; the queue holds 600 s",
            datetime.fromtimestamp(1.7e9).astimezone().strftime("clock: %Y-%m-%d %H:%M:%S"),
            "the device's clock gains -21 ppm",
            "lead off: II",
            "lead off: all leads are back on",
            "flatline: no signal change for 1.5 s (rail)",
        ),
        strict=True,
    ):
        assert line.endswith(words)


def test_the_clock_carries_seconds_to_minutes_and_hours() -> None:
    assert [clock(t).strip() for t in (0.0, 59.996, 61.5, 3599.999, 90061.25)] == [
        "0:00.00",
        "1:00.00",
        "1:01.50",
        "1:00:00.00",
        "25:01:01.25",
    ]


def test_the_summary_shows_the_totals() -> None:
    text = render_summary(END, 360.0)
    assert "108,000 received at 360 Hz, 36 lost, 0 unusable, 1 gap, 300.1 s" in text
    assert "504: N 400, S 3, V 80, F 20, ? 1" in text
    assert "101.2 per minute" in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["delay"][1:4] == ["286", "288", "455"]
    assert rows["compute"][1:4] == ["0.31", "0.42", "0.60"]
    assert "bad frames: 2" in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_the_summary_of_an_empty_stream_shows_unknown() -> None:
    nothing = {f"p{p}": None for p in (50, 95, 99)}
    text = render_summary(End(0, 0, 0, 0, 0, 0.0, {}, None, nothing, nothing))
    assert "heart rate  unknown" in text
    assert np.all([cell == "-" for cell in text.splitlines()[-1].split()[1:4]])

"""Time without a beat, unusable samples and totals in C against the Python classes."""

from __future__ import annotations

import ctypes
from typing import get_args

import numpy as np
import pytest
from c_library import library
from labels_in_c import FLOAT, ROW, StagesInC, pointer
from test_labels import CLASSES, FS, Pair, both, drawn

from ecgmoe_edge.streaming.events import Event, Gap, GapReason
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.rhythm.silence import SilenceClock
from ecgmoe_edge.streaming.totals import StreamTotals
from ecgmoe_edge.streaming.unusable import UnusableRun

_REASONS = get_args(GapReason)


@pytest.mark.parametrize("fs", [125.0, 250.0, 999.5])
def test_the_clock_reports_the_same_silences(fs: float) -> None:
    random = np.random.default_rng(1)
    limits = RhythmLimits(pause_s=1.3, asystole_s=3.0)
    clock, stages = SilenceClock(fs, (limits.pause_s, limits.asystole_s)), StagesInC(fs, limits=limits)
    rows, reported, at = np.zeros((2, 4)), 0, 0
    waiting: list[int] = []
    for _ in range(4000):
        at += int(random.integers(1, round(0.7 * fs)))
        action = random.choice(["start", "peak", "beat", "beat", "stop", "time"], p=(0.05, 0.3, 0.2, 0.2, 0.01, 0.24))
        if action == "start" and not clock.running:
            clock.start(at)
            stages.c.silence_start(ctypes.c_int64(at))
        elif action == "peak" and len(waiting) < 20:
            waiting.append(at - int(random.integers(0, 60)))
            clock.peak(waiting[-1])
            stages.c.silence_peak(ctypes.c_int64(waiting[-1]))
        elif action == "beat" and waiting:
            is_beat, begins_rr, r = bool(random.random() < 0.7), bool(random.random() < 0.5), waiting.pop(0)
            clock.beat(r, at, is_beat=is_beat, begins_rr=begins_rr)
            stages.c.silence_beat(ctypes.c_int64(r), ctypes.c_int64(at), is_beat, begins_rr)
        elif action == "stop":
            waiting.clear()
            clock.stop()
            stages.c.silence_stop()
        assert stages.c.silence_due() == clock.due
        expected = [[each.known_at, each.since, each.seconds, each.after_beat] for each in clock.run(at)]
        count = stages.c.silence_run(ctypes.c_int64(at), pointer(rows))
        assert rows[:count].tolist() == expected
        reported += count
    assert reported > 50


def test_unusable_samples_are_reported_as_the_same_gaps() -> None:
    random = np.random.default_rng(2)
    run, stages = UnusableRun(100.0), StagesInC(100.0)
    row, at, gaps = np.zeros(ROW), 0, 0
    for _ in range(60):
        reason = str(random.choice(["nan", "range", "link"]))
        for _ in range(int(random.choice([1, 50, 7000, 13000], p=(0.3, 0.5, 0.1, 0.1)))):
            reports = run.count(1, reason, at)  # type: ignore[arg-type]
            found = stages.c.unusable_count(_REASONS.index(reason), ctypes.c_int64(at), pointer(row))
            assert found == len(reports)
            if reports:
                assert reports[0][0] == at + 1
                assert row.tolist() == stages.rows_of([reports[0][1]])[0].tolist()
            gaps += found
            at += 1
        if random.random() < 0.5:
            ended = run.report(at)
            assert stages.c.unusable_report(ctypes.c_int64(at), pointer(row)) == len(ended)
            if ended:
                assert row.tolist() == stages.rows_of(ended)[0].tolist()
            at += int(random.integers(0, 100))
    assert gaps > 20


def _with_gaps(pairs: list[Pair]) -> list[Pair]:
    random = np.random.default_rng(4)
    out: list[Pair] = []
    for pair in pairs:
        out.append(pair)
        if random.random() < 0.1:
            lost = None if random.random() < 0.1 else int(random.integers(1, 900))
            at, reason, lead = (
                int(random.integers(0, 9000)),
                str(random.choice(_REASONS)),
                str(random.choice(["", "I"])),
            )
            bridged = bool(random.random() < 0.4)
            gap = Gap(at, at / FS, lost, reason, bridged=bridged, lead=lead or None if bridged else None)  # type: ignore[arg-type]
            out.append((gap, None))
    return out


def test_the_totals_of_a_stream_are_those_of_python() -> None:
    labeller, stages = both()
    totals, events, out = StreamTotals(FS, CLASSES), list[Event](), np.zeros(22)
    for item, answer in _with_gaps(drawn(7)):
        events += labeller.take(item, answer)
        stages.take(item, answer)
    totals.count(events)
    for samples, reason in ((100, "link"), (30, "nan"), (7, "range")):
        totals.lose(samples, reason)  # type: ignore[arg-type]
        stages.c.totals_lose(ctypes.c_int64(samples), _REASONS.index(reason))
    end = totals.end()
    stages.c.totals_read(pointer(out))
    assert end.af_burden is not None
    af = end.af_burden
    assert out[1:5].tolist() == [end.lost, end.unusable, end.gaps, end.bridged]
    assert out[5:9].tolist() == [end.beats["?"], 0, end.artefacts, end.relabelled]
    expected = [end.mean_heart_rate_bpm, af.af_s, af.classified_s, af.episodes, af.longest_s]
    assert out[9:14].tolist() == pytest.approx(expected, rel=1e-12)
    assert out[14:17].tolist() == pytest.approx([end.delay_ms[f"p{p}"] for p in (50, 95, 99)], abs=1e-4)
    assert out[17:21].tolist() == [end.beats[label] for label in "NSVF"]
    assert end.artefacts > 10
    assert af.episodes > 2


_SIZES = """
#include "ecgmoe_labeller.h"
#include "ecgmoe_lead_history.h"
#include "ecgmoe_rr_history.h"
#include "ecgmoe_totals.h"
unsigned size_of(int which) {
    unsigned sizes[] = {sizeof(ecgmoe_lead_history), sizeof(ecgmoe_rr_history), sizeof(ecgmoe_labeller),
                        sizeof(ecgmoe_totals), sizeof(ecgmoe_silence_clock), sizeof(ecgmoe_beat)};
    return sizes[which];
}
"""


def test_the_state_of_one_lead_in_32_bits_is_small() -> None:
    flags = (*FLOAT, "-DECGMOE_MAX_LEADS=1", "-DECGMOE_PATIENT_LAYER=0")
    c = library(code=_SIZES, flags=flags)
    names = ("lead history", "RR history", "labeller", "totals", "silence", "beat")
    sizes = {name: int(c.size_of(which)) for which, name in enumerate(names)}
    assert sizes["lead history"] <= 4200
    assert sizes["RR history"] <= 800
    assert sizes["labeller"] <= 3700
    assert sizes["beat"] <= 1500

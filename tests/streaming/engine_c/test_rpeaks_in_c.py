"""The candidates and the detector of R peaks in C give what the Python classes give, from the same inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
from drawn_candidates import REASONS, drawn_reports
from numpy.typing import NDArray
from qrs_in_c import FOUND, SETTLED, EngineInC, numbers_of

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming.c_tables import qrs
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.qrs import detector as detector_module
from ecgmoe_edge.streaming.qrs import rating
from ecgmoe_edge.streaming.qrs.candidates import UNKNOWN_FOLLOWING, Candidate, CandidateFinder
from ecgmoe_edge.streaming.qrs.detector import RPeakDetector
from ecgmoe_edge.streaming.qrs.lead_memory import LeadBegin, LeadCandidate, LeadEnd, LeadReport
from ecgmoe_edge.streaming.qrs.possible_beat import DetectorOutput, RPeak
from ecgmoe_edge.streaming.qrs.weights import QRS_NETWORK
from ecgmoe_edge.streaming.signal import lead as lead_module
from ecgmoe_edge.streaming.signal.filters import monitoring_band
from ecgmoe_edge.streaming.signal.history import History

FLOAT = ("-DECGMOE_REAL_FLOAT",)
WITHIN = 1e-11


def drawn(seed: int, leads: int, fs: float, seconds: int = 60) -> NDArray[np.float64]:
    """Return an ECG (leads, n) that is hard to read: noise, mains hum, invalid samples, flat and clipped parts."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * fs)) / fs
    r_s = np.cumsum(rng.uniform(0.4, 1.1, 2 * seconds))
    wide = np.where(rng.random(r_s.size) < 0.15, 3.0, 1.0)
    beats = sum(
        np.exp(-(((t - at) / (0.012 * width)) ** 2)) + 0.3 * np.exp(-(((t - at - 0.3) / 0.06) ** 2))
        for at, width in zip(r_s[r_s < seconds], wide, strict=False)
    )
    x = np.tile(beats, (leads, 1))
    x *= rng.uniform(0.3, 1.5, (leads, 1)) * rng.choice([-1.0, 1.0], (leads, 1))
    x += rng.normal(0.0, rng.uniform(0.01, 0.15, (leads, 1)), x.shape)
    x[0] += 0.2 * np.sin(2 * np.pi * 50.1 / fs * np.arange(x.shape[1])) * (np.arange(x.shape[1]) > 12 * fs)
    for k in range(leads):
        for _ in range(3):
            first = int(rng.integers(x.shape[1]))
            part = slice(first, first + int(rng.uniform(0.01, 3.0) * fs))
            x[k, part] = rng.choice([np.nan, 5.0, x[k, first]])
    return x


class Recorder:
    """Runs a front end in Python, and keeps what the finders and the detector are given and answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.finders: list[list[tuple[Any, ...]]] = []  # calls of each finder
        self.found: list[list[tuple[list[float], Candidate]]] = []  # its candidates: as found, and the objects
        self.detector: list[tuple[Any, ...]] = []  # calls of the detector
        self.outputs: list[DetectorOutput] = []
        self._record_finders(monkeypatch)
        self._record_detector(monkeypatch)

    def _record_finders(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = self

        class Finder(CandidateFinder):
            def __init__(self, fs: float, signal: History) -> None:
                self.calls: list[tuple[Any, ...]] | None = None
                super().__init__(fs, signal)
                self.calls = []
                self.all_found: list[tuple[list[float], Candidate]] = []
                recorder.finders.append(self.calls)
                recorder.found.append(self.all_found)

            def restart(self, at: int) -> None:
                if self.calls is not None:
                    self.calls.append(("restart", at))
                super().restart(at)

            def process(self, y: NDArray[np.float64]) -> list[Candidate]:
                if self.calls is None:
                    return super().process(y)
                self.calls.append(("push", y.copy()))
                return self._kept(super().process(y))

            def run_again(self, at: int, y: NDArray[np.float64]) -> None:
                assert self.calls is not None
                self.calls.append(("run_again", at, y.copy()))
                calls, self.calls = self.calls, None
                super().run_again(at, y)
                self.calls = calls

            def break_off(self, known_at: int) -> list[Candidate]:
                assert self.calls is not None
                self.calls.append(("break_off", known_at))
                return self._kept(super().break_off(known_at))

            def _kept(self, candidates: list[Candidate]) -> list[Candidate]:
                self.all_found += [(numbers_of(each), each) for each in candidates]
                return candidates

        monkeypatch.setattr(lead_module, "CandidateFinder", Finder)

    def _record_detector(self, monkeypatch: pytest.MonkeyPatch) -> None:
        recorder = self
        process, flush, restart = RPeakDetector.process, RPeakDetector.flush, RPeakDetector.restart
        open_candidates: list[LeadCandidate] = []

        def recorded(self: RPeakDetector, reports: Iterable[LeadReport], arrived: int) -> list[DetectorOutput]:
            reports = list(reports)
            settled = [(r.lead, r.candidate.at, r.candidate.settled_at, r.candidate.following) for r in open_candidates]
            given = [numbers_of(each.candidate) if isinstance(each, LeadCandidate) else None for each in reports]
            recorder.detector.append(("process", settled, list(zip(reports, given, strict=True)), arrived))
            open_candidates[:] = [*open_candidates, *(r for r in reports if isinstance(r, LeadCandidate))][-6:]
            made = process(self, reports, arrived)
            recorder.outputs += made
            return made

        def flushed(self: RPeakDetector, arrived: int) -> list[DetectorOutput]:
            recorder.detector.append(("flush", arrived))
            made = flush(self, arrived)
            recorder.outputs += made
            return made

        def restarted(self: RPeakDetector) -> None:
            recorder.detector.append(("restart",))
            restart(self)

        monkeypatch.setattr(detector_module.RPeakDetector, "process", recorded)
        monkeypatch.setattr(detector_module.RPeakDetector, "flush", flushed)
        monkeypatch.setattr(detector_module.RPeakDetector, "restart", restarted)

    def run(self, x: NDArray[np.float64], fs: float, chunk: int) -> None:
        front = FrontEnd(fs, tuple(f"L{k}" for k in range(len(x))), grid=None)
        for number, at in enumerate(range(0, x.shape[1], chunk)):
            front.push(x[:, at : at + chunk])
            if number == 9:
                front.gap(round(2 * fs), "link")
            if number in (4, 6) and len(x) > 1:
                front.lead_off([number == 4, *[False] * (len(x) - 1)])
        front.flush()


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return Recorder(monkeypatch)


CASES = [(1, 1, 250.0), (2, 2, 360.0), (3, 3, 128.0), (4, 1, 1000.0), (5, 1, 100.0)]


@pytest.mark.parametrize(("seed", "leads", "fs"), CASES)
def test_candidates_and_decisions_in_a_front_end_are_those_of_python(
    recorder: Recorder, seed: int, leads: int, fs: float
) -> None:
    recorder.run(drawn(seed, leads, fs), fs, round(3.3 * fs))
    engine = EngineInC(fs, leads)
    for k, (calls, found) in enumerate(zip(recorder.finders, recorder.found, strict=True)):
        assert len(found) > 50
        compare_candidates(candidates_in_c(engine, k, calls), found)
    replay_detector(engine, recorder.detector)
    assert len(recorder.outputs) > 50
    compare_outputs(engine.rows(), recorder.outputs)
    engine.close()


def test_rpeaks_of_the_shipped_recording_are_those_of_python_sample_by_sample_and_with_float() -> None:
    recording = load_calibration()
    fs, y = recording.fs, filtered(recording.signal[:, :60000], recording.fs)
    outputs = rpeaks_in_python(y, fs)
    for flags in ((), FLOAT):
        engine = EngineInC(fs, len(y), flags)
        for k in range(len(y)):
            engine.finder_restart(k, 0.0)
            engine.detector_begin_lead(k, 0.0)
        engine.stream(y, y.shape[1])
        rows = engine.rows()
        if flags:
            expected = [output.sample for output in outputs if isinstance(output, RPeak)]
            np.testing.assert_allclose(rows[rows[:, 0] == 3, 2], expected, atol=1.0, rtol=0.0)
        else:
            compare_outputs(rows, outputs)
        engine.close()


@pytest.mark.parametrize("leads", [1, 2, 3])
@pytest.mark.parametrize(("loud", "less"), [(rating.LOUD, 0.0), (1.3, 4.0)])
def test_decisions_on_drawn_candidates_are_those_of_python(
    monkeypatch: pytest.MonkeyPatch, leads: int, loud: float, less: float
) -> None:
    """With a low limit of loud peaks and less likely beats, levels are learnt again while they are learnt again."""
    network = replace(QRS_NETWORK, out_bias=QRS_NETWORK.out_bias - less)
    monkeypatch.setattr(qrs, "QRS_NETWORK", network)
    monkeypatch.setattr(rating, "LOUD", loud)
    for seed in range(4):
        detector = RPeakDetector(250.0, leads, 38, [rating.Rater(network) for _ in range(leads)])
        engine = EngineInC(250.0, leads)
        first: list[LeadReport] = [LeadBegin(k, 0) for k in range(leads)]
        made = detector.process(first, 0)
        for each in first:
            report_in_c(engine, each)
        reports = drawn_reports(seed, leads, 38)
        for (now, report), (later, _) in pairwise([*reports, (reports[-1][0] + 1, reports[-1][1])]):
            made += detector.process([report], max(now, later - 1))
            report_in_c(engine, report)
            engine.detector_run(float(max(now, later - 1)))
            assert engine.c_due() == detector.due
        made += detector.flush(reports[-1][0] + 1)
        engine.detector_flush(float(reports[-1][0] + 1))
        assert len(made) > 5
        compare_outputs(engine.rows(), made)
        engine.close()


def filtered(x: NDArray[np.float64], fs: float) -> NDArray[np.float64]:
    return np.stack([monitoring_band(fs).process(row) for row in x])


def rpeaks_in_python(y: NDArray[np.float64], fs: float) -> list[DetectorOutput]:
    """Return the outputs for signals (leads, n) as one block, without a look at whether a candidate is plausible."""
    signals = [History(round(6 * fs)) for _ in y]
    finders = [CandidateFinder(fs, signal) for signal in signals]
    detector = RPeakDetector(fs, len(y), finders[0].reach)
    reports: list[LeadCandidate] = []
    for k, (signal, finder, row) in enumerate(zip(signals, finders, y, strict=True)):
        signal.append(row)
        reports += [LeadCandidate(each.known_at, k, each) for each in finder.process(row)]
    begun: list[LeadReport] = [LeadBegin(k, 0) for k in range(len(y))]
    made = detector.process(begun, 0)
    return made + detector.process(sorted(reports, key=attrgetter("known_at")), y.shape[1])


def candidates_in_c(engine: EngineInC, lead: int, calls: Sequence[tuple[Any, ...]]) -> list[NDArray[np.float64]]:
    """Repeat the calls of a finder in C, and return its candidates, each with what became known later."""
    for name, *arguments in calls:
        if name == "push":
            engine.finder_push(lead, arguments[0], arguments[0].size)
        elif name == "run_again":
            engine.finder_run_again(lead, float(arguments[0]), arguments[1], arguments[1].size)
        elif name == "restart":
            engine.finder_restart(lead, float(arguments[0]))
        else:
            engine.finder_break_off(lead, float(arguments[0]))
    found: list[NDArray[np.float64]] = []
    for kind, *values in engine.rows():
        if kind == FOUND:
            found.append(np.array(values[:37]))
        elif kind == SETTLED:
            newest = next(each for each in reversed(found) if each[0] == values[0])
            newest[2], newest[11] = values[1], values[2]
    return found


def compare_candidates(found: Sequence[NDArray[np.float64]], expected: Sequence[tuple[list[float], Candidate]]) -> None:
    assert len(found) == len(expected)
    for mine, (first, candidate) in zip(found, expected, strict=True):
        theirs = np.array(first)  # R may have been moved since then
        theirs[2], theirs[11] = candidate.settled_at, candidate.following
        np.testing.assert_array_equal(mine[:4], theirs[:4])
        np.testing.assert_allclose(mine[4:], theirs[4:], atol=WITHIN, rtol=WITHIN)


def report_in_c(engine: EngineInC, report: LeadReport, numbers: list[float] | None = None) -> None:
    if isinstance(report, LeadCandidate):
        engine.detector_candidate(report.lead, np.array(numbers or numbers_of(report.candidate)))
    elif isinstance(report, LeadEnd):
        engine.detector_end_lead(report.lead, float(report.known_at), REASONS.index(report.reason))
    else:
        engine.detector_begin_lead(report.lead, float(report.at))


def replay_detector(engine: EngineInC, calls: Sequence[tuple[Any, ...]]) -> None:
    """Repeat the calls of a detector in C."""
    for name, *arguments in calls:
        if name == "restart":
            engine.detector_restart()
        elif name == "flush":
            engine.detector_flush(float(arguments[0]))
        else:
            settled, reports, arrived = arguments
            for lead, at, settled_at, following in settled:
                if following != UNKNOWN_FOLLOWING:
                    engine.detector_settle(lead, float(at), float(settled_at), float(following))
            for report, numbers in reports:
                report_in_c(engine, report, numbers)
            engine.detector_run(float(arrived))


def compare_outputs(rows: NDArray[np.float64], outputs: Sequence[DetectorOutput]) -> None:
    assert len(rows) == len(outputs)
    for row, output in zip(rows.tolist(), outputs, strict=True):
        if isinstance(output, RPeak):
            assert row[:3] == [3.0, output.known_at, output.sample]
            assert row[5] == output.search_back
            assert row[3] == pytest.approx(output.log_odds, abs=WITHIN)
            recurrence = np.nan if output.recurrence is None else output.recurrence
            assert row[4] == pytest.approx(recurrence, abs=WITHIN, nan_ok=True)
        else:
            clear = sum(1 << k for k in output.clear)
            assert row[:5] == [4.0, output.known_at, output.broken, clear, len(output.order)]
            assert tuple(row[5 : 5 + len(output.order)]) == output.order
            assert all(row[8 + k] == REASONS.index(reason) for k, reason in output.reasons)

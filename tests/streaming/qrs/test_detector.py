"""The detector with candidates that are made for the test."""

from __future__ import annotations

from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.qrs.candidates import WAVEFORM, Candidate
from ecgmoe_edge.streaming.qrs.detector import RPeakDetector
from ecgmoe_edge.streaming.qrs.lead_memory import LeadBegin, LeadCandidate
from ecgmoe_edge.streaming.qrs.possible_beat import RPeak

FS = 250.0
REACH = 38


def report(lead: int, at: int, energy: float, waveform: NDArray[np.float64], quiet: float = -3.0) -> LeadCandidate:
    waveform = waveform - waveform.mean()
    found = Candidate(
        at, at + REACH + 1, at + 2 * REACH + 1, at - 12, energy, float(np.log(energy)),
        [-1.0, -2.0, quiet, quiet, -1.0], waveform / np.linalg.norm(waveform), 0.1,
    )  # fmt: skip
    return LeadCandidate(found.known_at, lead, found)


def test_loud_peaks_of_a_lead_without_an_ecg_beside_t_waves_do_not_stop_the_detector() -> None:
    """They are rejected with the T waves, and look alike; the lead does not vote, so no level was wrong."""
    rng = np.random.default_rng(4)
    qrs, t_wave, pulse = (rng.normal(size=WAVEFORM) for _ in range(3))
    reports: list[LeadCandidate] = []
    for second in range(1, 30):
        at = 250 * second
        reports += [report(0, at, 20.0, qrs), report(0, at + 75, 4.0, t_wave, quiet=-0.3)]
        if second < 20:
            reports.append(report(1, at + 30, 1.0, rng.normal(size=WAVEFORM), quiet=0.0))
        else:
            reports.append(report(1, at + 80, 60.0, pulse, quiet=0.0))
    detector = RPeakDetector(FS, 2, REACH)
    made = detector.process([LeadBegin(0, 0), LeadBegin(1, 0)], 0)
    made += detector.process(sorted(reports, key=attrgetter("known_at")), 31 * 250)
    made += detector.flush(31 * 250)
    peaks = [output.sample for output in made if isinstance(output, RPeak)]
    assert peaks == [250 * second - 12 for second in range(1, 30)]

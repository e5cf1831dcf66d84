"""Reports of leads that are drawn at random: candidates of beats, artefacts and noise, and leads that begin and end."""

from __future__ import annotations

from typing import get_args

import numpy as np

from ecgmoe_edge.streaming.events import LeadReason
from ecgmoe_edge.streaming.qrs.candidates import WAVEFORM, Candidate
from ecgmoe_edge.streaming.qrs.lead_memory import LeadBegin, LeadCandidate, LeadEnd, LeadReport

REASONS: tuple[LeadReason, ...] = get_args(LeadReason)


def drawn_reports(seed: int, leads: int, reach: int, count: int = 400) -> list[tuple[int, LeadReport]]:
    """Return reports with the number of samples that have arrived, in order; all leads are present at first."""
    rng = np.random.default_rng(seed)
    kinds = [rng.normal(size=WAVEFORM) for _ in range(3)]
    level, spread, alike = rng.uniform(0.0, 3.0, leads), rng.uniform(0.1, 1.5), rng.uniform()
    present, next_at = [True] * leads, [0] * leads
    reports: list[tuple[int, LeadReport]] = []
    at = 30
    while len(reports) < count:
        at += reach + 1 + int(rng.exponential(40.0 if rng.random() < 0.8 else 400.0))
        for k in range(leads):
            level[k] += rng.normal(0.0, 4.0) if rng.random() < 0.02 / leads else 0.0
            own = at + (int(rng.integers(-20, 20)) if leads > 1 else 0)
            if not present[k] or own <= next_at[k] or rng.random() < 0.15:
                continue
            next_at[k] = own + reach
            log_energy = level[k] + (rng.normal(0.0, spread) if rng.random() < 0.6 else rng.normal(-2.0, 1.0))
            waveform = kinds[rng.integers(3)] + rng.normal(0.0, 0.1 if rng.random() < alike else 1.5, WAVEFORM)
            waveform -= waveform.mean()
            shape = [*rng.normal(-1.5, 1.0, 2), *np.minimum(rng.normal(-2.5, 1.0, 2), 0.0), rng.normal(-1.0, 0.5)]
            found = Candidate(
                own, own + reach + 1, own + 2 * reach + 1, own - int(rng.integers(5, 20)),
                float(np.exp(log_energy)), float(log_energy), [float(each) for each in shape],
                waveform / np.linalg.norm(waveform), float(abs(rng.normal(0.5, 0.6))),
            )  # fmt: skip
            reports.append((found.known_at, LeadCandidate(found.known_at, k, found)))
        if rng.random() < 0.015:
            k, when = int(rng.integers(leads)), at + int(rng.integers(60))
            reason = REASONS[1 + int(rng.integers(4))]
            reports.append((when, LeadEnd(when, k, reason) if present[k] else LeadBegin(k, when)))
            present[k], next_at[k] = not present[k], at + 100
    return sorted(reports, key=lambda each: each[0])

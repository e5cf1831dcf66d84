"""Totals of a stream, in constant memory."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from ecgmoe_edge import contract
from ecgmoe_edge.streaming.events import (
    ARTEFACT_REASON,
    UNUSABLE,
    AfBurden,
    Beat,
    End,
    EngineName,
    Event,
    Gap,
    GapReason,
    Rhythm,
)
from ecgmoe_edge.streaming.rhythm.model_rhythm import AF, NOISY

PERCENTS = (50, 95, 99)


class Percentiles:
    """Percentiles of any number of positive values, with an error of at most 1 %."""

    def __init__(self) -> None:
        self._bins: Counter[int] = Counter()  # number of values by 100 times their logarithm, rounded

    def add(self, value: float) -> None:
        """Add one value."""
        self._bins[round(100.0 * math.log(value if value > 1e-6 else 1e-6))] += 1

    def summary(self) -> dict[str, float | None]:
        """Return p50, p95 and p99 in the unit of the values; None without a value."""
        total = self._bins.total()
        if not total:
            return {f"p{p}": None for p in PERCENTS}
        out: dict[str, float | None] = {}
        ordered = sorted(self._bins.items())
        for percent in PERCENTS:
            rank, seen = math.ceil(total * percent / 100), 0
            for log_percent, count in ordered:
                seen += count
                if seen >= rank:
                    out[f"p{percent}"] = round(math.exp(log_percent / 100.0), 4)
                    break
        return out


class RhythmTotals:
    """Durations of the rhythms that the model recognised."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)  # by label
        self._episodes = 0
        self._longest_s = 0.0

    def add(self, event: Rhythm) -> None:
        """Add a rhythm that has ended; alarms, and rhythms that still last, are ignored."""
        if event.to_s is None or event.limit is not None:
            return
        duration_s = event.to_s - event.from_s
        self._seconds[event.label] += duration_s
        if event.label == AF:
            self._episodes += 1
            self._longest_s = max(self._longest_s, duration_s)

    def af_burden(self) -> AfBurden:
        """Return the totals of atrial fibrillation."""
        classified_s = sum(seconds for label, seconds in self._seconds.items() if label != NOISY)
        af_s = self._seconds[AF]
        return AfBurden(
            percent=100.0 * af_s / classified_s if classified_s else None,
            af_s=af_s,
            classified_s=classified_s,
            episodes=self._episodes,
            longest_s=self._longest_s,
        )


class StreamTotals:
    """Totals of one stream.

    Args:
        fs: sampling rate, Hz.
        classes: classes of each task of the model; empty without a model.
        engine: the engine that runs.
        engine_reason: why it is not the C engine; None if it is, or if numpy was asked for.
    """

    def __init__(
        self,
        fs: float,
        classes: Mapping[str, tuple[str, ...]],
        engine: EngineName = "numpy",
        engine_reason: str | None = None,
    ) -> None:
        self._fs, self._engine, self._engine_reason = fs, engine, engine_reason
        self.received = self.lost = 0  # number of samples
        self._unusable = self._gaps = self._bridged = 0
        self._labels: Counter[str] = Counter(dict.fromkeys((*classes["beat"], "?"), 0) if classes else {})
        self._artefacts = self._relabelled = 0
        self._after_artefact = False  # whether the last beat was one: the next RR interval begins with it
        self._delays, self._compute = Percentiles(), Percentiles()
        self._rr_sum_ms = 0.0
        self._rr_count = 0
        self._rhythms = RhythmTotals() if AF in classes.get(contract.RHYTHM_TASK, ()) else None

    def lose(self, samples: int, reason: GapReason) -> None:
        """Count samples that never arrived; `count` gets their gap with the other events."""
        self.lost += samples
        if reason in UNUSABLE:
            self._unusable -= samples  # `count` will add them, since it takes them for samples that arrived

    def count(self, events: Iterable[Event]) -> None:
        """Count these events."""
        for event in events:
            if isinstance(event, Beat):
                self._count_beat(event)
            elif isinstance(event, Gap):
                self._gaps += 1
                self._unusable += event.unusable
                self._bridged += (event.lost or 0) if event.bridged else 0
            elif isinstance(event, Rhythm) and self._rhythms is not None:
                self._rhythms.add(event)

    def _count_beat(self, beat: Beat) -> None:
        artefact = beat.reason == ARTEFACT_REASON
        self._labels["unclassified" if beat.label is None else beat.label] += 1
        self._artefacts += artefact
        self._relabelled += beat.shared_label is not None
        self._delays.add(beat.delay_ms)
        self._compute.add(beat.compute_ms)
        if beat.rr_ms is not None and not artefact and not self._after_artefact:
            self._rr_sum_ms += beat.rr_ms
            self._rr_count += 1
        self._after_artefact = artefact

    def end(self) -> End:
        """Return the event that ends the stream."""
        return End(
            samples=self.received,
            lost=self.lost,
            unusable=self._unusable,
            gaps=self._gaps,
            bridged=self._bridged,
            duration_s=(self.received + self.lost) / self._fs,
            beats=dict(self._labels),
            mean_heart_rate_bpm=60000.0 * self._rr_count / self._rr_sum_ms if self._rr_count else None,
            delay_ms=self._delays.summary(),
            compute_ms=self._compute.summary(),
            af_burden=None if self._rhythms is None else self._rhythms.af_burden(),
            artefacts=self._artefacts,
            relabelled=self._relabelled,
            engine=self._engine,
            engine_reason=self._engine_reason,
        )

"""Beats for which a model answered with what is no number: counted, and reported without a flood of events."""

from __future__ import annotations

from collections.abc import Sequence

from ecgmoe_edge.streaming.events import ModelFault

_REPORT_S = 60.0  # of signal between two events at least


class ModelFaults:
    """Counts them. fs: Hz."""

    def __init__(self, fs: float) -> None:
        self._fs = fs
        self._reported: int | None = None  # sample of the last event
        self._beats = 0  # since then
        self._outputs: dict[str, None] = {}  # of these beats, in the order in which they came up
        self._sample = 0  # of the latest

    def add(self, sample: int, outputs: Sequence[str]) -> list[ModelFault]:
        """The beat at `sample` has no usable answer in these outputs; the event, where it is time for one."""
        self._beats += 1
        self._sample = sample
        self._outputs |= dict.fromkeys(outputs)
        if self._reported is not None and sample - self._reported < _REPORT_S * self._fs:
            return []
        return self.flush()

    def flush(self) -> list[ModelFault]:
        """What was counted and not reported yet."""
        if not self._beats:
            return []
        fault = ModelFault(self._sample, self._sample / self._fs, tuple(self._outputs), self._beats)
        self._reported, self._beats, self._outputs = self._sample, 0, {}
        return [fault]

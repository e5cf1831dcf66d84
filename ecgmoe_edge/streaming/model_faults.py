"""Beats with unusable outputs of the model (NaN, infinite, beyond the limit): reported at most once a minute."""

from __future__ import annotations

from collections.abc import Sequence

from ecgmoe_edge.streaming.events import ModelFault

REPORT_S = 60.0  # least time between two events


class ModelFaults:
    """Counts these beats.

    Args:
        fs: sampling rate, Hz.
    """

    def __init__(self, fs: float) -> None:
        self._fs = fs
        self._reported: int | None = None  # sample of the last event
        self._beats = 0  # number of these beats since then
        self._outputs: dict[str, None] = {}  # names of their unusable outputs, in the order of their appearance
        self._sample = 0  # R peak of the latest

    def add(self, sample: int, outputs: Sequence[str]) -> list[ModelFault]:
        """Count the beat with its R peak at `sample` and these unusable outputs; return an event if one is due."""
        self._beats += 1
        self._sample = sample
        self._outputs |= dict.fromkeys(outputs)
        if self._reported is not None and sample - self._reported < REPORT_S * self._fs:
            return []
        return self.flush()

    def flush(self) -> list[ModelFault]:
        """Return an event of the beats that are not reported yet, if there are any."""
        if not self._beats:
            return []
        fault = ModelFault(self._sample, self._sample / self._fs, tuple(self._outputs), self._beats)
        self._reported, self._beats, self._outputs = self._sample, 0, {}
        return [fault]

"""The front end in C with the interface of `ecgmoe_edge.streaming.frontend.FrontEnd`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.streaming.beats import BeatContext, LeadView
from ecgmoe_edge.streaming.c_engine import extension
from ecgmoe_edge.streaming.c_engine.constants import front_end_constants
from ecgmoe_edge.streaming.c_engine.event_names import GAP_REASONS, EventNames
from ecgmoe_edge.streaming.events import GapReason
from ecgmoe_edge.streaming.frontend import Item
from ecgmoe_edge.streaming.patient.rr_history import RR_FEATURE_NAMES, RR_SEQUENCE
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.rhythm.silence import SignalEnd, Silence
from ecgmoe_edge.streaming.signal.filters import check_rate
from ecgmoe_edge.streaming.signal.mains import AUTO, MainsChoice
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID

_BEAT, _SILENCE, _SIGNAL_END = range(3)  # ecgmoe_item_kind
_LONGEST_PUSH_S = 300.0  # longer signals are given to C in parts, so that the memory for their items stays bounded


class CFrontEnd:
    """Filters, R peaks, beat windows and features of one to three leads, in C.

    Args:
        fs: sampling rate of the device, 100-1000 Hz.
        leads: names of the leads.
        mains: as in `FrontEnd`.
        invert: whether to invert all leads.
        peaks_only: R peaks only, which are reported as soon as they are certain.
        limits: limits of the pause and asystole that are reported as `Silence`.

    Raises:
        SignalError: a sampling rate or `mains` that cannot be used.
        UsageError: the extension does not fit this version of the package.
        ImportError: this installation does not have the extension.
    """

    def __init__(
        self,
        fs: float,
        leads: Sequence[str] = ("II",),
        *,
        mains: MainsChoice = AUTO,
        invert: bool = False,
        peaks_only: bool = False,
        limits: RhythmLimits | None = None,
    ) -> None:
        module = extension()
        if module is None:
            raise ImportError("this installation has no C engine")
        self.fs = check_rate(fs)
        self._names = tuple(leads)
        self._peaks_only = peaks_only
        constants = front_end_constants(self.fs, mains=mains, invert=invert, peaks_only=peaks_only, limits=limits)
        try:
            self.core = module.FrontEnd(constants, len(self._names), peaks_only)
        except ValueError as reason:
            raise UsageError(
                f"The C engine was built from the sources of another version ({reason}): install the package again, "
                "or set ECGMOE_ENGINE=numpy."
            ) from reason
        self._events = EventNames(self.fs, self._names, {}, limits)

    @property
    def position(self) -> int:
        """Number of the next sample, lost samples included."""
        return int(self.core.position)

    def parts(self, samples: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        """Divide samples (leads, n) into parts of bounded length, each contiguous in memory."""
        longest = round(_LONGEST_PUSH_S * self.fs)
        if samples.shape[1] <= longest:
            yield np.ascontiguousarray(samples)
            return
        for at in range(0, samples.shape[1], longest):
            yield np.ascontiguousarray(samples[:, at : at + longest])

    def push(self, samples: NDArray[np.float64]) -> list[Item]:
        """See `FrontEnd.push`."""
        items: list[Item] = []
        for part in self.parts(samples):
            if self.core.push(part):
                items += self._items()
        return items

    def gap(self, lost: int | None, reason: GapReason, *, at_least: bool = False) -> list[Item]:
        """See `FrontEnd.gap`."""
        self.lose(lost, reason, at_least=at_least)
        return self._items()

    def lose(self, lost: int | None, reason: GapReason, *, at_least: bool) -> None:
        """Note that samples never arrived; the items wait in `core`."""
        self.core.gap(-1 if lost is None else lost, GAP_REASONS.index(reason), at_least)

    def lead_off(self, mask: Sequence[bool]) -> list[Item]:
        """See `FrontEnd.lead_off`."""
        self.set_lead_off(mask)
        return self._items()

    def set_lead_off(self, mask: Sequence[bool]) -> None:
        """Set which leads are off; the items wait in `core`."""
        self.core.lead_off(sum(1 << k for k, off in enumerate(mask) if off))

    def flush(self) -> list[Item]:
        """See `FrontEnd.flush`."""
        self.core.flush()
        return self._items()

    def _items(self) -> list[Item]:
        """Return the items that wait in `core`, and forget them there."""
        found = self.core.items()
        beats = iter(self._beats(found))
        self.core.clear()
        return [next(beats) if numbers[0] == _BEAT else self._item(numbers) for numbers in found]

    def _item(self, numbers: Sequence[Any]) -> Item:
        if numbers[0] == _SILENCE:
            _, known_at, since, seconds, after_beat = numbers
            return Silence(known_at, since, seconds, bool(after_beat))
        if numbers[0] == _SIGNAL_END:
            _, known_at, sample, lead_lost = numbers
            return SignalEnd(known_at, sample, bool(lead_lost))
        return self._events.event(numbers[1])  # type: ignore[return-value]  # no rhythm and no fault of a model

    def _beats(self, found: Sequence[Sequence[Any]]) -> list[BeatContext]:
        """Return the beats among the items, with their arrays."""
        beats, rows = self.core.beats, self.core.rows
        windows = np.empty((rows, 2, BEAT_GRID.size), np.float32)
        amplitudes = np.empty(rows, np.float32)
        rr_features, rr_sequences = _rows(beats, len(RR_FEATURE_NAMES)), _rows(beats, 2, RR_SEQUENCE)
        if beats:
            self.core.windows(windows, amplitudes, rr_features, rr_sequences)
        out: list[BeatContext] = []
        row = 0
        for k, numbers in enumerate(each for each in found if each[0] == _BEAT):
            leads = numbers[8]
            views = [self._view(windows[row + i], float(amplitudes[row + i]), lead) for i, lead in enumerate(leads)]
            row += len(leads)
            out.append(self._beat(numbers, views, rr_features[k], rr_sequences[k]))
        return out

    def _view(self, window: NDArray[np.float32], amplitude: float, lead: int) -> LeadView:
        name = self._names[lead] if len(self._names) > 1 else None
        return LeadView(window[0], window[1], amplitude, np.zeros(0, np.float32), name)

    def _beat(
        self,
        numbers: Sequence[Any],
        views: Sequence[LeadView],
        rr_features: NDArray[np.float32],
        rr_sequence: NDArray[np.float32],
    ) -> BeatContext:
        _, sample, known_at, ready_at, rr, quality, recurrence, lead, _, search_back, complete, no_qrs, in_history = (
            numbers
        )
        beat = BeatContext(
            sample=sample,
            known_at=known_at,
            ready_at=ready_at,
            search_back=bool(search_back),
            complete=bool(complete),
            rr_s=rr / self.fs if rr else None,
            quality=quality,
            no_qrs=bool(no_qrs),
            recurrence=None if math.isnan(recurrence) else recurrence,
            lead=None if lead < 0 else self._names[lead],
            in_history=bool(in_history),
        )
        if self._peaks_only:
            return beat
        first, *others = views
        return replace(
            beat,
            window=first.window,
            template=first.template,
            amplitude=first.amplitude,
            others=tuple(others),
            rr_features=rr_features,
            rr_sequence=rr_sequence,
        )


def _rows(*shape: int) -> NDArray[np.float32]:
    return np.empty(shape, np.float32)

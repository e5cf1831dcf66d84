"""One beat with all that a model needs, and how each lead shows it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

_EMPTY: NDArray[np.float32] = np.zeros(0, np.float32)


def _empty() -> NDArray[np.float32]:
    return _EMPTY


@dataclass(frozen=True)
class LeadView:
    """A beat in one lead, with the patient history of that lead; arrays as in `BeatContext`."""

    window: NDArray[np.float32]
    template: NDArray[np.float32]
    amplitude: float
    context: NDArray[np.float32]
    lead: str | None = None  # its name; None if there is only one lead


@dataclass(frozen=True)
class BeatContext:
    """One beat; arrays in mV in the 0.5-40 Hz band, and empty if only R peaks are wanted.

    `known_at` and `ready_at` are numbers of arrived samples: when the R peak was certain, and when the beat was
    complete. The delay of the beat is `ready_at - 1 - sample` samples.
    """

    sample: int  # R peak
    known_at: int
    ready_at: int
    search_back: bool
    complete: bool  # False if the signal broke off before the end of the window; the window is zero from there on
    rr_s: float | None  # interval to the R peak before; None at the start and after a break
    quality: float  # 0 to 1
    no_qrs: bool = False  # in all leads far smaller than the patient's R peaks, and noise or like a P wave
    recurrence: float | None = None  # correlation of its QRS with the patient's beats before; None for the first
    lead: str | None = None  # lead of the window; None if there is only one lead
    others: tuple[LeadView, ...] = ()  # the same beat in another lead that shows it well
    window: NDArray[np.float32] = field(default_factory=_empty)  # (grid,)
    template: NDArray[np.float32] = field(default_factory=_empty)  # (grid,) median of the patient's last 16 windows
    amplitude: float = 0.0  # median R amplitude of the patient's last 32 beats
    rr_features: NDArray[np.float32] = field(default_factory=_empty)  # (15,)
    rr_sequence: NDArray[np.float32] = field(default_factory=_empty)  # (2, 32)
    in_history: bool = True  # whether its window was added to the patient history; True if only R peaks are wanted
    context: NDArray[np.float32] = field(default_factory=_empty)  # (context,) 10 s to the window's end, if wanted

    def shown_by(self, lead: str) -> BeatContext | None:
        """Return this beat with the window and the history of another lead; None if `lead` does not show it well."""
        if self.lead == lead:
            return self
        view = next((other for other in self.others if other.lead == lead), None)
        if view is None:
            return None
        return replace(
            self,
            lead=lead,
            others=(),
            window=view.window,
            template=view.template,
            amplitude=view.amplitude,
            context=view.context,
        )

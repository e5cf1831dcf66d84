"""What is known of one beat, and how each lead shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_NOTHING: NDArray[np.float32] = np.zeros(0, np.float32)


def _nothing() -> NDArray[np.float32]:
    return _NOTHING


@dataclass(frozen=True)
class LeadView:
    """How one lead shows a beat, beside what that lead has shown of the wearer before; arrays as in `BeatContext`."""

    window: NDArray[np.float32]
    template: NDArray[np.float32]
    amplitude: float
    context: NDArray[np.float32]


@dataclass(frozen=True)
class BeatContext:
    """One beat as the stream knows it; arrays of mV in the 0.5-40 Hz band, empty where only R peaks are asked for."""

    sample: int  # R peak
    known_at: int  # samples that had arrived when the R peak was certain
    ready_at: int  # and when this beat was complete: delay = ready_at - 1 - sample
    search_back: bool
    complete: bool  # False: the signal broke off before the window's end; the window is zero there
    rr_s: float | None  # to the R peak before; None at the start and after a break
    quality: float  # 0..1
    no_qrs: bool = False  # far smaller than the patient's R peaks in all leads, and noise or like a P wave
    recurrence: float | None = None  # correlation with the patient's beats before, by their QRS; None: there were none
    lead: str | None = None  # whose window it is; None where there is only one
    others: tuple[LeadView, ...] = ()  # the same beat in another lead, where one shows it well too
    window: NDArray[np.float32] = field(default_factory=_nothing)  # (grid,)
    template: NDArray[np.float32] = field(default_factory=_nothing)  # (grid,) median of the wearer's last 16 windows
    amplitude: float = 0.0  # median R amplitude of the wearer's last 32 beats
    rr_features: NDArray[np.float32] = field(default_factory=_nothing)  # (15,)
    rr_sequence: NDArray[np.float32] = field(default_factory=_nothing)  # (2, 32)
    in_history: bool = True  # whether its window was added to the patient history; True if only R peaks are wanted
    context: NDArray[np.float32] = field(default_factory=_nothing)  # (context,) 10 s to the window's end, if asked for

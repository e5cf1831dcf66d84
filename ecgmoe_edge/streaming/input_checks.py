"""Checks of the input of a monitor, before it changes anything: lead names, samples, losses and lead-off flags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import SignalError
from ecgmoe_edge.streaming.events import GapReason

MOST_LOST: Final = 2**40  # most samples of one gap: 35 years at 1000 Hz, and far below the largest sample number
_REASONS: Final[tuple[str, ...]] = get_args(GapReason)


def check_leads(leads: Any) -> tuple[str, ...]:
    """Return the names of the leads.

    Raises:
        SignalError: there is none, one is empty, or two are the same.
    """
    if isinstance(leads, str):
        raise SignalError(f"leads={leads!r} is a single text: give a list of names, such as leads=({leads!r},).")
    names = tuple(leads) if isinstance(leads, Iterable) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise SignalError(f"leads={leads!r} is not a list of names: give texts, such as leads=('II',).")
    if not names:
        raise SignalError("A monitor needs at least one lead: give their names, such as leads=('II',).")
    for name in names:
        if not name.strip():
            raise SignalError("A lead has an empty name: events name leads, so give each a name, such as 'II'.")
        if names.count(name) > 1:
            raise SignalError(
                f"Two leads are called {name}: events name leads, so give each its own name, such as '{name} 2'."
            )
    return tuple(map(str, names))


def distinct_names(names: Sequence[str]) -> tuple[str, ...]:
    """Make lead names that a monitor accepts from names that may be repeated or empty.

    >>> distinct_names(["ECG", "ECG", ""])
    ('ECG', 'ECG 2', 'lead 2')
    """
    named = [name if name.strip() else f"lead {position}" for position, name in enumerate(names)]
    out: list[str] = []
    for name in named:
        own, number = name, 1
        # A name that is the original name of a later lead stays with that lead.
        while own in out or (number > 1 and own in named):
            number += 1
            own = f"{name} {number}"
        out.append(own)
    return tuple(out)


def check_flag(name: str, value: Any) -> bool:
    """Return the flag as a bool.

    Raises:
        SignalError: it is anything else, such as a text or an array, which Python would take for true.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise SignalError(f"{name}={value!r} is neither True nor False.")
    return bool(value)


def check_samples(samples: Any, leads: Sequence[str]) -> NDArray[np.float64]:
    """Return samples as (leads, n) float64; the same array if it has this type already. Masked samples become NaN.

    Raises:
        SignalError: another shape, rows of unequal length, or elements that are no real numbers (text, objects,
            booleans, complex numbers).
    """
    x = samples if type(samples) is np.ndarray and samples.dtype == np.float64 else _as_float64(samples)
    if x.ndim != 2 or x.shape[0] != len(leads):
        raise SignalError(
            f"Samples of shape {x.shape} do not fit {len(leads)} lead(s) {', '.join(leads)}: "
            "push an array of shape (leads, samples) in mV."
        )
    return x


def _as_float64(samples: Any) -> NDArray[np.float64]:
    try:
        x = samples if isinstance(samples, np.ma.MaskedArray) else np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SignalError(
            f"The samples are not an array of numbers ({error}): push one of shape (leads, samples) in mV, "
            "all rows of one length."
        ) from error
    if x.dtype.kind not in "iuf":
        raise SignalError(
            f"The samples are of type {x.dtype}, which is not a real number: push an array of shape "
            "(leads, samples) in mV."
        )
    with np.errstate(over="ignore"):  # a value of a wider float becomes infinite, which is unusable too
        real = x.astype(np.float64)
    return real.filled(np.nan) if isinstance(real, np.ma.MaskedArray) else real


def check_loss(n_lost: Any, reason: Any) -> int | None:
    """Return the number of samples of a gap; None if it is unknown.

    Raises:
        SignalError: an impossible number, or an unknown reason.
    """
    if not isinstance(reason, str) or reason not in _REASONS:
        raise SignalError(f"A gap has no reason {reason!r}: give one of {', '.join(_REASONS)}.")
    if n_lost is None:
        return None
    if isinstance(n_lost, bool) or not isinstance(n_lost, Integral) or not 0 <= int(n_lost) <= MOST_LOST:
        raise SignalError(
            f"A gap of {n_lost!r} samples is not possible: give a whole number from 0 to {MOST_LOST:,}, "
            "or None if the number is unknown."
        )
    return int(n_lost)


def check_lead_off(mask: Any, leads: Sequence[str]) -> tuple[bool, ...]:
    """Return one flag for each lead, True if it is off.

    Raises:
        SignalError: another number of flags, or other values.
    """
    flags = mask.tolist() if isinstance(mask, np.ndarray) else mask
    if not isinstance(flags, Sequence) or not all(isinstance(flag, (bool, np.bool_)) for flag in flags):
        raise SignalError(
            f"Lead-off flags are True or False, one for each lead ({', '.join(leads)}), in a list or an array; "
            f"got {mask!r}."
        )
    if len(flags) != len(leads):
        raise SignalError(f"{len(flags)} lead-off flags do not fit {len(leads)} lead(s) {', '.join(leads)}.")
    return tuple(map(bool, flags))

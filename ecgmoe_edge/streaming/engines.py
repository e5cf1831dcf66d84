"""Which engine runs a stream: the numpy reference, or the same stages in C, which give the same events.

`ECGMOE_ENGINE=numpy` or `ECGMOE_ENGINE=c` chooses for a whole process, an argument for one monitor. Without a choice,
the C engine runs if this installation has it and it has room for the stream.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, get_args

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.streaming import c_engine
from ecgmoe_edge.streaming.events import EngineName

VARIABLE: Final = "ECGMOE_ENGINE"
_NAMES: Final[tuple[str, ...]] = get_args(EngineName)
NOT_BUILT: Final = "the C engine is not part of this installation"


@dataclass(frozen=True)
class EngineChoice:
    """The engine of a stream, and why it is not the C engine; None if it is, or if numpy was asked for."""

    name: EngineName
    reason: str | None = None


def engine_line() -> str:
    """Return a sentence about the engine that runs in this process.

    Raises:
        UsageError: as in `choose_engine`.
    """
    module = c_engine.extension()
    choice = choose_engine(None, leads=1, fs=250.0, context=False)
    if module is None or choice.name == "numpy":
        return f"Engine: numpy; {choice.reason or f'{VARIABLE}=numpy chose it'}."
    return f"Engine: c, for up to {module.MOST_LEADS} leads and {module.HIGHEST_RATE_HZ} Hz; numpy beyond that."


def choose_engine(wanted: str | None, *, leads: int, fs: float, context: bool) -> EngineChoice:
    """Choose the engine of a stream.

    Args:
        wanted: "numpy" or "c"; None for the variable ECGMOE_ENGINE, or the C engine if it is built.
        leads: number of leads.
        fs: sampling rate, Hz.
        context: whether the model needs a signal longer than the beat window, which only the reference gives.

    Raises:
        UsageError: an unknown engine, or the C engine was asked for and is not part of this installation.
    """
    source = "engine="
    if wanted is None:
        wanted, source = os.environ.get(VARIABLE) or None, f"{VARIABLE}="
    if wanted is not None and wanted not in _NAMES:
        raise UsageError(f"{source}{wanted} is no engine: give {' or '.join(_NAMES)}.")
    if wanted == "numpy":
        return EngineChoice("numpy")
    module = c_engine.extension()
    if module is None and wanted is None:
        return EngineChoice("numpy", NOT_BUILT)
    if module is None:
        raise UsageError(
            f"{source}c was given, but {NOT_BUILT}: install a C compiler and then the package again, or choose numpy."
        )
    if leads > module.MOST_LEADS:
        return EngineChoice("numpy", f"the C engine holds {module.MOST_LEADS} leads, and this stream has {leads}")
    if fs > module.HIGHEST_RATE_HZ:
        return EngineChoice(
            "numpy", f"the C engine runs up to {module.HIGHEST_RATE_HZ} Hz, and this stream has {fs:g} Hz"
        )
    if context:
        return EngineChoice("numpy", "this model needs 10 s of signal with each beat, which the C engine does not give")
    return EngineChoice("c")

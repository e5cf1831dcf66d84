"""From a full-precision ECG mixture-of-experts model to a beat-by-beat monitor on the device a patient carries.

Two names are enough for live use; both are imported on first use, so that `import ecgmoe_edge` stays fast and light:

    from ecgmoe_edge import Monitor, load_bundle

    monitor = Monitor(load_bundle("./ecgmoe-jetson"), fs=250, leads=("II",))
    for event in monitor.push(samples):  # (leads, n), float64, mV
        print(event)
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, whose import takes longer than all that stands here
if TYPE_CHECKING:
    from typing import Any

    from ecgmoe_edge.runtime import load_bundle
    from ecgmoe_edge.streaming import Monitor

__version__ = "0.1.0"

__all__ = ["Monitor", "__version__", "load_bundle"]

_HOME = {"Monitor": "ecgmoe_edge.streaming", "load_bundle": "ecgmoe_edge.runtime"}


def __getattr__(name: str) -> Any:
    """Import `Monitor` or `load_bundle` the first time it is asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, those not imported yet included."""
    return sorted(__all__)

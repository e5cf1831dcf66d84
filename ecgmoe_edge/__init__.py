"""From a full-precision ECG mixture-of-experts model to a beat-by-beat monitor on the device a patient carries.

Two names are enough for live use; both are imported on first use, so that `import ecgmoe_edge` stays fast and light:

    from ecgmoe_edge import Monitor, load_bundle

    monitor = Monitor(load_bundle("./ecgmoe-jetson"), fs=250, leads=("II",))
    for event in monitor.push(samples):  # (leads, n), float64, mV
        print(event)
"""

from __future__ import annotations

TYPE_CHECKING = False  # not imported from typing, which takes longer to import than the rest of this module
if TYPE_CHECKING:
    from typing import Any

    from ecgmoe_edge.runtime import load_bundle
    from ecgmoe_edge.streaming import Monitor

__version__ = "0.1.0"

__all__ = ["Monitor", "__version__", "load_bundle"]

_MODULES = {"Monitor": "ecgmoe_edge.streaming", "load_bundle": "ecgmoe_edge.runtime"}


def __getattr__(name: str) -> Any:
    """Import `Monitor` or `load_bundle` on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, including those that are not imported yet."""
    return sorted(__all__)

"""Checks an installed wheel: the C engine runs the shipped recording, and gives the events of the numpy reference.

    python tools/check_wheel.py

Exit code 1 with a sentence if the installation has no C engine, or if an event differs. It needs the package and an
ONNX runtime, and nothing else of the repository.
"""

from __future__ import annotations

import sys
from typing import Any

from ecgmoe_edge import Monitor, load_bundle
from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.runtime import shipped_bundle
from ecgmoe_edge.streaming.events import Beat, to_json

SECONDS = 60.0


def beats(engine: str | None) -> tuple[str, list[tuple[Any, ...]]]:
    """The engine that ran, and sample, label and RR interval of each beat of the shipped recording's first minute."""
    recording = load_calibration()
    monitor = Monitor(load_bundle(shipped_bundle()), recording.fs, recording.leads, engine=engine)
    events = monitor.push(recording.signal[:, : round(SECONDS * recording.fs)]) + monitor.flush()
    found = [to_json(event) for event in events if isinstance(event, Beat)]
    return monitor.engine, [(beat["sample"], beat["label"], beat["rr_ms"]) for beat in found]


def main() -> int:
    """Run the check; return the exit code."""
    engine, found = beats(None)
    if engine != "c":
        print("error: the C engine is not part of this installation", file=sys.stderr)
        return 1
    if not found or found != beats("numpy")[1]:
        print("error: the C engine does not give the events of the numpy reference", file=sys.stderr)
        return 1
    print(f"C engine: {len(found)} beats, the same as those of the numpy reference")
    return 0


if __name__ == "__main__":
    sys.exit(main())

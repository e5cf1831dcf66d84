"""Says what this machine can do: engine, runtimes, serial ports, clocks, sensors, memory, folders, and a self check."""

from __future__ import annotations

import importlib.util
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecgmoe_edge import __version__
from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.errors import EcgmoeError, MissingExtra, UsageError, one_line
from ecgmoe_edge.profiling.findings import Diagnosis, Finding
from ecgmoe_edge.profiling.host_checks import folder_findings, host_findings
from ecgmoe_edge.profiling.port_checks import port_findings
from ecgmoe_edge.runtime.bundle import Bundle, load_bundle, shipped_bundle
from ecgmoe_edge.streaming.engines import NOT_BUILT, engine_line
from ecgmoe_edge.streaming.events import Beat
from ecgmoe_edge.streaming.monitor import Monitor

_ANOTHER_BUNDLE = "Export the bundle again, or leave out --bundle to check the shipped one."
_IMPORT_TIMEOUT_S = 60.0
_CHECKED_S = 20.0  # of the shipped recording
_STEP_S = 0.5
# Runs in a process of its own: a library that was built for another processor ends the process that imports it.
_IMPORT = """
import importlib, importlib.metadata, json, sys
path, module, distribution = json.loads(sys.argv[1])
sys.path[:] = path
loaded = importlib.import_module(module)
version = getattr(loaded, "__version__", None) or importlib.metadata.version(distribution)
providers = getattr(loaded, "get_available_providers", list)()
print("\\n" + json.dumps([version, providers]))
"""


class _Runtime(NamedTuple):
    name: str
    module: str
    distribution: str
    extra: str
    runs: str


_RUNTIMES = (
    _Runtime("onnxruntime", "onnxruntime", "onnxruntime", "onnx", "ONNX bundles, such as the shipped one"),
    _Runtime("LiteRT", "ai_edge_litert.interpreter", "ai-edge-litert", "tflite", "TFLite bundles"),
    _Runtime("tflite-runtime", "tflite_runtime.interpreter", "tflite-runtime", "tflite", "TFLite bundles"),
)
_OPTIONAL = "tflite-runtime"  # LiteRT has replaced it, so that its absence is not worth a line


def diagnose(bundle: str | Path | None = None, root: Path = Path("/")) -> Diagnosis:
    """Check this machine.

    Args:
        bundle: path of the bundle of the self check; None: the shipped one.
        root: the file tree with /sys and /proc. Packages, ports and folders are always those of this machine.
    """
    runtimes = runtime_findings()
    runnable = any(finding.status == "ok" for finding in runtimes)
    return Diagnosis(
        (
            software_finding(),
            engine_finding(),
            *runtimes,
            *host_findings(root),
            *folder_findings(),
            *port_findings(root),
            self_check(bundle, runnable=runnable),
        )
    )


def software_finding() -> Finding:
    """Versions of this package, of Python and of numpy."""
    return Finding(
        "software",
        "ok",
        f"ecgmoe-edge {__version__}, Python {platform.python_version()}, numpy {np.__version__}, "
        f"{platform.system()} {platform.release()} on {platform.machine()}",
    )


def engine_finding() -> Finding:
    """Which engine runs the streaming stages, and why."""
    try:
        line = engine_line()
    except UsageError as error:
        return Finding("engine", "problem", str(error), "Correct or remove the variable ECGMOE_ENGINE.")
    text = line.removeprefix("Engine: ").removesuffix(".")
    if NOT_BUILT in line:
        return Finding(
            "engine",
            "remark",
            f"{text}; it needs more processor time",
            "Install a C compiler (`sudo apt install gcc`), then this package again.",
        )
    return Finding("engine", "ok", text)


def runtime_findings() -> list[Finding]:
    """Which model runtimes are installed and can be imported; a problem if there is none."""
    found = [_runtime_finding(runtime) for runtime in _RUNTIMES if runtime.name != _OPTIONAL or _is_present(runtime)]
    if any(finding.status == "ok" for finding in found):
        return found
    return [Finding(finding.name, "problem", finding.text, finding.mend) for finding in found]


def _is_present(runtime: _Runtime) -> bool:
    return importlib.util.find_spec(runtime.module.partition(".")[0]) is not None


def _runtime_finding(runtime: _Runtime) -> Finding:
    install = f"pip install 'ecgmoe-edge[{runtime.extra}]'"
    if not _is_present(runtime):
        return Finding(runtime.name, "remark", "not installed", f"`{install}`, to run {runtime.runs}")
    if runtime.name == "tflite-runtime" and int(np.__version__.partition(".")[0]) >= 2:
        text = f"needs numpy below 2 and finds {np.__version__}"
        return Finding(runtime.name, "remark", text, f"`{install}`, which installs its successor LiteRT")
    again = (
        f"Install a version for this Python and this processor: `pip install --force-reinstall {runtime.distribution}`"
    )
    argument = json.dumps([sys.path, runtime.module, runtime.distribution])
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT, argument],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_IMPORT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding(runtime.name, "remark", f"its import takes more than {_IMPORT_TIMEOUT_S:.0f} s", again)
    if done.returncode < 0:
        return Finding(runtime.name, "remark", f"its import ends Python with signal {-done.returncode}", again)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1][:160]
        return Finding(runtime.name, "remark", f"cannot be imported: {reason}", again)
    version, providers = json.loads(done.stdout.strip().splitlines()[-1])
    more = f"; execution providers: {', '.join(providers)}" if providers else ""
    return Finding(runtime.name, "ok", f"{version}{more}")


def self_check(bundle: str | Path | None = None, *, runnable: bool = True) -> Finding:
    """Load a bundle and label beats of the shipped recording.

    Args:
        bundle: path of the bundle; None: the shipped one.
        runnable: whether a runtime is installed, perhaps one for other bundles.
    """
    started = time.perf_counter()
    try:
        model = load_bundle(shipped_bundle() if bundle is None else bundle)
        loaded = time.perf_counter()
        beat = _first_label(model)
    except MissingExtra as error:
        other = bundle is None and runnable
        mend = "Install it, or check a bundle for the runtime that is installed: `ecgmoe-edge doctor --bundle PATH`."
        return Finding(
            "self check", "remark" if other else "problem", str(error), mend if other else "Install the runtime."
        )
    except (EcgmoeError, OSError, ValueError) as error:
        again = "Install this package again." if bundle is None else _ANOTHER_BUNDLE
        text = str(error) if isinstance(error, EcgmoeError) else f"the shipped files cannot be read: {one_line(error)}"
        return Finding("self check", "problem", text, again)
    about = model.describe()
    text = f"{about['name']} ({about['format']}, {about['precision']}) loaded in {1e3 * (loaded - started):.0f} ms"
    if beat is None:
        return Finding(
            "self check",
            "problem",
            f"{text}, but no beat of {_CHECKED_S:.0f} s of the shipped recording got a label",
            _ANOTHER_BUNDLE,
        )
    took = 1e3 * (time.perf_counter() - loaded)
    return Finding(
        "self check",
        "ok",
        f"{text}; the beat at {beat.time_s:.2f} s of the shipped recording is {beat.label} ({took:.0f} ms)",
    )


def _first_label(model: Bundle) -> Beat | None:
    """The first beat of the shipped recording that has a class; None if there is none in 20 s."""
    recording = load_calibration()
    monitor = Monitor(model, recording.fs, recording.leads)
    step = round(_STEP_S * recording.fs)
    for start in range(0, round(_CHECKED_S * recording.fs), step):
        for event in monitor.push(recording.signal[:, start : start + step]):
            if isinstance(event, Beat) and event.label in model.classes["beat"]:
                return event
    return None

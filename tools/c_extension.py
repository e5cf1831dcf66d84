"""Builds the C engine's extension with one command of the compiler, and loads it in place of the installed one.

For the build in 32-bit arithmetic, which Python does not use, and for builds with a sanitizer or other capacity.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.streaming import c_engine

PACKAGE = Path(c_engine.__file__).parents[2]
MONITOR = PACKAGE / "firmware_bridge" / "firmware" / "monitor"
FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-Wno-deprecated-declarations")
FLOAT = ("-DECGMOE_REAL_FLOAT",)


def build(folder: Path, flags: Sequence[str] = (), compiler: str = "gcc") -> Path:
    """Build the extension in a folder, and return its file.

    Raises:
        UsageError: the compiler is missing, or fails; the message is the compiler's.
    """
    file = folder / "_core.abi3.so"
    sources = [Path(c_engine.__file__).parent / "_core.c", *sorted(MONITOR.glob("*.c"))]
    headers = (f"-I{sysconfig.get_paths()['include']}", f"-I{MONITOR}")
    command = [compiler, *FLAGS, *headers, *flags, *map(str, sources), "-o", str(file), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as missing:
        raise UsageError(f"The C engine is built with {compiler}, which is missing: {missing}.") from missing
    if done.returncode:
        raise UsageError(f"{compiler} cannot build the C engine:\n{done.stderr}")
    return file


def use(file: Path) -> ModuleType:
    """Load an extension for the rest of this process, in place of the installed one."""
    spec = importlib.util.spec_from_file_location(c_engine.NAME, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} is no extension module.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[c_engine.NAME] = module
    return module

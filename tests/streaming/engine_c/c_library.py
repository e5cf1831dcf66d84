"""Compiles sources of the monitor in C into a shared library for a test, once for each set of sources and flags."""

from __future__ import annotations

import atexit
import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

MONITOR = Path(__file__).parents[3] / "firmware_bridge" / "firmware" / "monitor"
#: Every warning is an error, and so is what only some compilers have: extensions of C99, arrays of variable length.
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wvla", "-Werror")
#: `-ffp-contract=off` gives the events of the Python engine.
STRICT = (*WARNINGS, "-Wconversion", "-Wpedantic", "-ffp-contract=off", f"-I{MONITOR}")


@cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="ecgmoe-c-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def run_compiler(compiler: str, *arguments: str | Path) -> None:
    """Compile; skip the test without this compiler, and fail it with the compiler's message."""
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}: .ci/debian-packages.sh installs it")
    done = subprocess.run([compiler, *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@cache
def library(*sources: str, code: str = "", flags: tuple[str, ...] = (), compiler: str = "gcc") -> ctypes.CDLL:
    """Compile and load.

    Args:
        sources: names of files in the monitor's folder, such as "ecgmoe_median.c".
        code: C code that is compiled with them, for example functions with simple arguments for ctypes.
        flags: further flags, such as "-DECGMOE_REAL_FLOAT".
        compiler: the compiler.
    """
    name = f"library{len(list(_folder().glob('*.so')))}"
    files = [MONITOR / source for source in sources]
    if code:
        extra = _folder() / f"{name}.c"
        extra.write_text(code)
        files.append(extra)
    shared = _folder() / f"{name}.so"
    run_compiler(compiler, *STRICT, "-O2", "-shared", "-fPIC", *flags, *files, "-o", shared, "-lm")
    return ctypes.CDLL(str(shared))

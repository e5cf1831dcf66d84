"""The optional C engine: built where a C compiler is found, left out with a warning where none is.

Everything else is in pyproject.toml.
"""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Extension, setup

CORE = "ecgmoe_edge/streaming/c_engine/_core.c"
MONITOR = "ecgmoe_edge/firmware_bridge/firmware/monitor"  # through the link, which a source distribution makes a folder
# Contracted or reordered arithmetic would give other events than the numpy reference.
# Neither changes a result: no caller reads errno, or the flags of floating-point exceptions.
FASTER = ["-fno-math-errno", "-fno-trapping-math"]
FLAGS = ["/O2", "/fp:precise"] if sys.platform == "win32" else ["-std=c99", "-O3", "-ffp-contract=off", *FASTER]
# The work for a sample is spread over many small functions in many files, so calls between files are inlined.
INLINED = ["-flto", "-fvisibility=hidden", "-fno-semantic-interposition"] if sys.platform == "linux" else []


def files(pattern: str) -> list[str]:
    """Return files of the monitor, relative to this one."""
    return sorted(f"{MONITOR}/{path.name}" for path in Path(__file__).parent.joinpath(MONITOR).glob(pattern))


setup(
    ext_modules=[
        Extension(
            "ecgmoe_edge.streaming.c_engine._core",
            [CORE, *files("*.c")],
            include_dirs=[MONITOR],
            depends=["ecgmoe_edge/streaming/c_engine/_fill.h", *files("*.h")],
            extra_compile_args=FLAGS + INLINED,
            extra_link_args=INLINED,
            define_macros=[("Py_LIMITED_API", "0x030A0000")],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)

"""The optional C engine: built where a C compiler is found, left out with a warning where none is.

Everything else is in pyproject.toml.
"""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CompileError, LinkError

CORE = "ecgmoe_edge/streaming/c_engine/_core.c"
MONITOR = "ecgmoe_edge/firmware_bridge/firmware/monitor"  # through the link, which a source distribution makes a folder
# Contracted or reordered arithmetic would give other events than the numpy reference.
# Neither changes a result: no caller reads errno, or the flags of floating-point exceptions.
FASTER = ["-fno-math-errno", "-fno-trapping-math"]
# MSVC knows `restrict` from C11 on only.
WINDOWS = ["/O2", "/std:c11", "/fp:precise"]
FLAGS = WINDOWS if sys.platform == "win32" else ["-std=c99", "-O3", "-ffp-contract=off", *FASTER]
# The work for a sample is spread over many small functions in many files, so calls between files are inlined.
INLINED = ["-flto", "-fvisibility=hidden", "-fno-semantic-interposition"] if sys.platform == "linux" else []


def files(pattern: str) -> list[str]:
    """Return files of the monitor, relative to this one."""
    return sorted(f"{MONITOR}/{path.name}" for path in Path(__file__).parent.joinpath(MONITOR).glob(pattern))


class BuildEngine(build_ext):
    """Builds the engine, and builds it again without inlining between files if compiler or linker cannot do that."""

    def build_extension(self, ext: Extension) -> None:
        """Build one extension."""
        try:
            super().build_extension(ext)
        except (BaseError, CompileError, LinkError):
            if not INLINED:
                raise
            ext.extra_compile_args, ext.extra_link_args = FLAGS, []
            self.force = True
            super().build_extension(ext)


setup(
    cmdclass={"build_ext": BuildEngine},
    ext_modules=[
        Extension(
            "ecgmoe_edge.streaming.c_engine._core",
            [CORE, *files("*.c")],
            include_dirs=[MONITOR],
            depends=["ecgmoe_edge/streaming/c_engine/_fill.h", *files("*.h")],
            extra_compile_args=FLAGS + INLINED,
            extra_link_args=INLINED,
            libraries=["m"] if sys.platform == "linux" else [],
            define_macros=[("Py_LIMITED_API", "0x030A0000")],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)

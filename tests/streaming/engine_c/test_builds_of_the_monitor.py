"""The sources of the C monitor: strict C99 without warnings, usable from C++, in the capacity that was asked for, and
without a wrong access to memory whatever the samples are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_library import MONITOR, STRICT, run_compiler

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming import c_engine
from ecgmoe_edge.streaming.c_tables.fill import values
from ecgmoe_edge.streaming.c_tables.tables import tables

SOURCES = sorted(MONITOR.glob("*.c"))
EXTENSION = Path(c_engine.__file__).parent
FUZZ = Path(__file__).parent / "fuzz_monitor.c"
CHIP = ("-DECGMOE_REAL_FLOAT", "-DECGMOE_MAX_FS=250", "-DECGMOE_MAX_LEADS=1", "-DECGMOE_PATIENT_LAYER=0")
SANITIZED = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CLASSES = {"beat": ("N", "S", "V", "F", "?"), "rhythm": ("N", "AF", "other", "noisy")}
OUTPUTS = {"beat": 5, "rhythm": 4, "route_morphology": 4, "route_rhythm": 4}
LARGEST_STATE = 28 * 1024  # bytes of one lead at 250 Hz in 32-bit numbers, with the inputs of the model


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("flags", [(), CHIP], ids=["double", "chip"])
def test_every_source_compiles_without_a_warning(compiler: str, flags: tuple[str, ...]) -> None:
    run_compiler(compiler, *STRICT, *flags, "-fsyntax-only", *SOURCES)


def test_the_header_can_be_used_from_cpp(tmp_path: Path) -> None:
    program = tmp_path / "program.cpp"
    program.write_text('#include "ecgmoe_monitor.h"\n#include "ecgmoe_frame.h"\nstatic ecgmoe_monitor monitor;\n'
                       "int main() { return ecgmoe_monitor_flush(&monitor) ? 0 : 1; }\n")  # fmt: skip
    flags = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{MONITOR}", f"-I{MONITOR.parent}")
    run_compiler("g++", *flags, program)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("-DECGMOE_MAX_FS=50", "set it from 100 to 1000"),
        ("-DECGMOE_MAX_FS=2000", "set it from 100 to 1000"),
        ("-DECGMOE_MAX_LEADS=0", "set it to 1, 2 or 3"),
        ("-DECGMOE_MAX_LEADS=4", "set it to 1, 2 or 3"),
    ],
)
def test_an_impossible_capacity_is_refused_with_a_sentence(flag: str, message: str) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    command = ["gcc", "-std=c99", "-fsyntax-only", f"-I{MONITOR}", flag, str(MONITOR / "ecgmoe_monitor.c")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert message in done.stderr


def test_the_state_of_one_lead_fits_a_small_chip(tmp_path: Path) -> None:
    source, program = tmp_path / "size.c", tmp_path / "size"
    source.write_text(
        '#include <stdio.h>\n#include "ecgmoe_monitor.h"\n'
        'int main(void) { printf("%zu", sizeof(ecgmoe_monitor)); return 0; }\n'
    )
    run_compiler("gcc", "-std=c99", f"-I{MONITOR}", *CHIP, source, "-o", program)
    assert int(subprocess.run([program], capture_output=True, text=True, check=True).stdout) <= LARGEST_STATE


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("-DECGMOE_REAL_FLOAT",)], ids=["double", "float"])
def test_disturbed_signals_cause_no_wrong_access_and_nothing_without_room(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    program, signal = tmp_path / "fuzz", tmp_path / "signal"
    sources = (FUZZ, *SOURCES)
    run_compiler(
        "gcc", "-std=c99", *SANITIZED, *flags, f"-I{MONITOR}", f"-I{EXTENSION}", *sources, "-o", program, "-lm"
    )
    load_calibration().signal[0].astype(np.float64).tofile(signal)
    for seed, (fs, leads, peaks_only) in enumerate([(250.0, 1, 0), (100.0, 3, 0), (1000.0, 2, 0), (360.0, 3, 1)]):
        numbers = tmp_path / "tables"
        numbers.write_bytes(values(tables(fs, peaks_only=bool(peaks_only), classes=CLASSES, outputs=OUTPUTS)).tobytes())
        arguments = (numbers, signal, str(leads), str(peaks_only), str(seed), "40000")
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        beats, *_ = map(int, done.stdout.split())
        assert beats > 10

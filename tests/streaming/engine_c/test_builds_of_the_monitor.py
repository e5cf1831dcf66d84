"""The sources of the C monitor: strict C99 without warnings, usable from C++, in the capacity that was asked for, and
without a wrong access to memory whatever the samples are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from c_library import MONITOR, STRICT, WARNINGS, run_compiler
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[3]))

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.streaming import c_engine
from ecgmoe_edge.streaming.c_tables.fill import values
from ecgmoe_edge.streaming.c_tables.tables import tables
from ecgmoe_edge.streaming.engines import NOT_BUILT
from tools import c_extension

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


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_extension_compiles_without_a_warning(compiler: str) -> None:
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").exists():
        pytest.skip(f"needs Python.h in {headers}")
    # Python declares the functions for buffers of the stable ABI as deprecated.
    flags = (*WARNINGS, "-Wno-deprecated-declarations", f"-I{MONITOR}", f"-isystem{headers}")
    run_compiler(compiler, *flags, "-fsyntax-only", EXTENSION / "_core.c")


def test_the_extension_of_this_tree_is_not_older_than_its_sources() -> None:
    module = c_engine.extension()
    if module is None:
        pytest.skip(NOT_BUILT)
    built = Path(str(module.__file__))
    if built.parent != EXTENSION:
        pytest.skip("needs the extension of this tree, and it was built elsewhere")
    sources = (*MONITOR.glob("*.[ch]"), *EXTENSION.glob("*.[ch]"))
    newer = [file.name for file in sources if file.stat().st_mtime > built.stat().st_mtime]
    assert not newer, "build it again: python setup.py build_ext --inplace --force"


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_the_header_can_be_used_from_cpp(tmp_path: Path, compiler: str) -> None:
    program = tmp_path / "program.cpp"
    program.write_text('#include "ecgmoe_monitor.h"\n#include "ecgmoe_frame.h"\nstatic ecgmoe_monitor monitor;\n'
                       "int main() { return ecgmoe_monitor_flush(&monitor) ? 0 : 1; }\n")  # fmt: skip
    flags = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{MONITOR}", f"-I{MONITOR.parent}")
    run_compiler(compiler, *flags, program)


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


@dataclass(frozen=True)
class Sanitized:
    """The monitor under the sanitizers for addresses and undefined behaviour; further leads are copies of the first."""

    program: Path

    def run(self, signal: NDArray[np.float64], fs: float, *, leads: int, peaks_only: bool, seed: int, n: int) -> int:
        """Run over `n` samples, with the disturbances of a seed above 0; return the number of beats."""
        numbers, samples = self.program.with_name("tables"), self.program.with_name("signal")
        numbers.write_bytes(values(tables(fs, peaks_only=peaks_only, classes=CLASSES, outputs=OUTPUTS)).tobytes())
        signal.astype(np.float64).tofile(samples)
        arguments = (numbers, samples, str(leads), str(int(peaks_only)), str(seed), str(n))
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return int(done.stdout.split()[0])


@pytest.fixture(scope="module", params=[(), ("-DECGMOE_REAL_FLOAT",)], ids=["double", "float"])
def sanitized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sanitized:
    program = tmp_path_factory.mktemp("sanitized") / "fuzz"
    folders = (f"-I{MONITOR}", f"-I{EXTENSION}")
    run_compiler("gcc", "-std=c99", *SANITIZED, *request.param, *folders, FUZZ, *SOURCES, "-o", program, "-lm")
    return Sanitized(program)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fs", "leads", "peaks_only"), [(250.0, 1, False), (100.0, 3, False), (1000.0, 2, False), (360.0, 3, True)]
)
def test_disturbed_signals_cause_no_wrong_access_and_nothing_without_room(
    sanitized: Sanitized, fs: float, leads: int, peaks_only: bool
) -> None:
    signal = load_calibration().signal[0]
    for seed in (1, 2):
        assert sanitized.run(signal, fs, leads=leads, peaks_only=peaks_only, seed=seed, n=40_000) > 10


@pytest.mark.slow
@pytest.mark.parametrize("leads", [1, 3])
def test_the_shipped_recording_causes_no_wrong_access(sanitized: Sanitized, leads: int) -> None:
    recording = load_calibration()
    signal = recording.signal[0]
    assert sanitized.run(signal, recording.fs, leads=leads, peaks_only=False, seed=0, n=signal.size) > 400


@pytest.mark.slow
@pytest.mark.parametrize(
    "record", ["mitdb/106", "mitdb/108", "mitdb/203", "mitdb/207", "mitdb/208", "svdb/802", "svdb/847", "svdb/873"]
)
def test_recordings_cause_no_wrong_access(sanitized: Sanitized, data_dir: Path, record: str) -> None:
    file = data_dir / record
    if not file.with_suffix(".hea").exists():
        pytest.skip(f"needs {record} in ECGMOE_DATA")
    opened = open_recording(file)
    signal = np.concatenate(list(opened.blocks(60.0, leads=[0])), axis=1)[0]
    assert sanitized.run(signal, opened.fs, leads=2, peaks_only=False, seed=0, n=signal.size) > 1000


@pytest.mark.slow
def test_the_extension_makes_no_wrong_access(tmp_path: Path) -> None:
    try:
        built = c_extension.build(tmp_path, SANITIZED)
    except UsageError as reason:
        pytest.skip(str(reason))
    asan = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    code = f"""
from pathlib import Path
from tools import c_extension
c_extension.use(Path({str(built)!r}))
from disturbed_streams import events, fake_model
for seed in range(12):
    leads, fs = 1 + seed % 3, (360.0, 250.0, 128.0, 500.0, 100.0, 1000.0)[seed % 6]
    model = fake_model(batched=seed % 2 == 0) if seed % 5 else None
    found = events(seed, "c", leads=leads, fs=fs, model=model)
    print(sum(type(event).__name__ == "Beat" for event in found))
"""
    folders = (Path(__file__).parents[3], Path(__file__).parent)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "LD_PRELOAD": asan.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python itself keeps memory until it ends
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(map(int, done.stdout.split())) > 300

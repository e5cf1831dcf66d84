"""Fixtures for all tests: real recordings if they are available, and simulated ECG with exactly known R peaks."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from installed_command import Cli
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

# Folders whose modules share slow fixtures (exported files, a fitted teacher): one process runs each folder.
_WHOLE_FOLDERS = ("tests/converters", "tests/training", "tests/compress")
# The slowest tests start first, so that no core waits for them at the end.
_FIRST = (*_WHOLE_FOLDERS, "tests/cli/test_stream", "tests/cli/test_export", "tests/repository/test_packaging")


def pytest_configure() -> None:
    """Ctrl-C reaches the programs that tests start, also where a shell runs the tests in the background without it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _group(nodeid: str) -> str:
    """The group of tests that one process runs: a module, or a whole folder."""
    module = nodeid.partition("::")[0]
    return next((folder for folder in _WHOLE_FOLDERS if module.startswith(f"{folder}/")), module)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """With `--dist loadscope`, a scheduler that keeps folders together and starts with the slowest tests."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    if config.getoption("dist") != "loadscope":
        return None
    config.option.loadscopereorder = False  # keep the order of `pytest_collection_modifyitems`
    return ByFolder(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Move the slowest tests to the front; the others keep their random order."""
    yield
    items.sort(key=lambda item: next((k for k, part in enumerate(_FIRST) if item.nodeid.startswith(part)), len(_FIRST)))


# Waves of a beat: centre in s from R at 60 bpm, width in s, amplitude in mV.
_WAVES = ((-0.18, 0.025, 0.12), (-0.035, 0.010, -0.08), (0.0, 0.011, 1.1), (0.035, 0.011, -0.2), (0.26, 0.045, 0.28))


@dataclass(frozen=True)
class SimulatedEcg:
    signal: NDArray[np.float64]  # (n,) mV
    r_peaks: NDArray[np.int64]  # (k,) samples
    fs: float  # Hz


def simulate_ecg(
    seconds: float,
    *,
    fs: float = 360.0,
    heart_rate: float = 70.0,
    variability: float = 0.05,
    noise_mv: float = 0.0,
    baseline_mv: float = 0.05,
    seed: int = 0,
) -> SimulatedEcg:
    """Sinus rhythm made of Gaussian waves, each R exactly on a sample; there is no R in the first and last second."""
    rng = np.random.default_rng(seed)
    n = round(seconds * fs)
    r_peaks = []
    at = 1.0
    while at < seconds - 1.0:
        r_peaks.append(round(at * fs))
        at += 60.0 / heart_rate * (1.0 + variability * float(np.clip(rng.standard_normal(), -2.5, 2.5)))
    time = np.arange(n) / fs
    signal = baseline_mv * np.sin(2 * np.pi * 0.2 * time) + noise_mv * rng.standard_normal(n)
    stretch = np.sqrt(60.0 / heart_rate)
    for r in r_peaks:
        for centre, width, height in _WAVES:
            middle = r / fs + centre * stretch
            near = slice(max(0, round((middle - 5 * width) * fs)), min(n, round((middle + 5 * width) * fs)))
            signal[near] += height * np.exp(-0.5 * ((time[near] - middle) / width) ** 2)
    return SimulatedEcg(signal, np.array(r_peaks, dtype=np.int64), fs)


@pytest.fixture(scope="session")
def simulated_ecg() -> Callable[..., SimulatedEcg]:
    """`simulated_ecg(seconds, fs=..., heart_rate=..., noise_mv=..., seed=...)`: a signal and its exact R peaks."""
    return simulate_ecg


@pytest.fixture
def write_mitdb_header(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], Path]:
    """`write_mitdb_header(folder, "232")`: writes a header that is identified as this record of MIT-BIH."""
    from ecgmoe_edge.records.databases import mitdb

    def write(folder: Path, name: str) -> Path:
        checksums = (int(name), -int(name))  # arbitrary
        monkeypatch.setitem(mitdb.RECORD_OF_DIGEST, mitdb.checksum_digest(checksums), name)
        lines = [f"{name}.dat 212 200 11 1024 0 {checksum} 0 MLII" for checksum in checksums]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.hea").write_text("\n".join([f"{name} 2 360 650000", *lines]) + "\n")
        return folder / name

    return write


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """`cli("profiles", "--json")`: runs commands in the folder of the test; its processes are killed at the end."""
    runner = Cli(tmp_path)
    yield runner
    for running in runner.running:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait(10)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of open databases in ECGMOE_DATA; without it the test is skipped."""
    named = os.environ.get("ECGMOE_DATA")
    if not named:
        pytest.skip("needs real recordings: set ECGMOE_DATA to a folder that holds mitdb/, svdb/ and so on")
    if not Path(named).is_dir():
        pytest.skip(f"needs real recordings: ECGMOE_DATA names {named}, which is not a folder")
    return Path(named)


def _database(data_dir: Path, name: str) -> Path:
    folder = data_dir / name
    if not folder.is_dir():
        pytest.skip(f"needs {name}: {folder} is not there")
    return folder


@pytest.fixture(scope="session")
def mitdb(data_dir: Path) -> Path:
    """The MIT-BIH Arrhythmia Database."""
    return _database(data_dir, "mitdb")


@pytest.fixture(scope="session")
def svdb(data_dir: Path) -> Path:
    """The MIT-BIH Supraventricular Arrhythmia Database."""
    return _database(data_dir, "svdb")


@pytest.fixture(scope="session")
def cinc2017(data_dir: Path) -> Path:
    """The recordings of the CinC Challenge 2017."""
    return _database(data_dir, "cinc2017")

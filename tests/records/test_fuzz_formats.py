"""Damaged files of every clinical format are refused in one sentence or read consistently, with little memory."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clinical_files import (
    aecg_set,
    dicom_group,
    drawn_counts,
    muse_lead,
    opensignals_device,
    write_aecg,
    write_dicom,
    write_muse,
    write_opensignals_hdf5,
    write_opensignals_text,
)
from edf_files import Edf, Signal, counts
from ishne_files import write_ishne

from ecgmoe_edge.errors import EcgmoeError
from ecgmoe_edge.records.registry import open_recording

MOST_GROWN_MB = 300
BLOCKS = 20
N = 300
SMALL = drawn_counts(2, N)
ROWS = np.stack((np.arange(N), np.zeros(N, np.int64), np.arange(N)), axis=1)


def edf(path: Path) -> Path:
    return Edf([Signal("ECG", counts(N), 60), Signal("Resp", counts(25), 5)]).write(path)


def edf_interrupted(path: Path) -> Path:
    return Edf([Signal("ECG", counts(N), 60)], "EDF+D", [0, 1, 2, 8, 9]).write(path)


def bdf(path: Path) -> Path:
    signal = Signal("ECG", counts(N, 24), 60, "uV", (-262144, 262143), (-8388608, 8388607))
    return Edf([signal], "BDF+C", range(5), bdf=True).write(path)


def dicom(path: Path) -> Path:
    return write_dicom(path, [dicom_group(SMALL)])


def opensignals_text(path: Path) -> Path:
    return write_opensignals_text(path, ROWS, opensignals_device())


def opensignals_hdf5(path: Path) -> Path:
    return write_opensignals_hdf5(path, ROWS[:, 2], ROWS[:, 0])


FORMATS: dict[str, Callable[[Path], Path]] = {
    "a.edf": edf,
    "d.edf": edf_interrupted,
    "a.bdf": bdf,
    "a.ecg": lambda path: write_ishne(path, SMALL),
    "a.dcm": dicom,
    "aecg.xml": lambda path: write_aecg(path, [aecg_set(SMALL), aecg_set(SMALL, head="20240305120008.000")]),
    "muse.xml": lambda path: write_muse(path, [muse_lead("I", SMALL[0]), muse_lead("II", SMALL[1])]),
    "a.txt": opensignals_text,
    "a.h5": opensignals_hdf5,
}
#: What a field of text may hold instead of its number.
TEXTS = (
    b"-1",
    b"0",
    b"99999999",
    b"1e308",
    b"nan",
    b"inf",
    b"",
    b"x",
    b"-99999",
    b"0.0000001",
    b"1_0",
    b"\xff\xfe\x00",
)


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Make one to four faults, mostly in the header: changed bytes, replaced numbers, lost or doubled parts."""
    spoiled = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        reach = len(spoiled) if rng.random() < 0.3 else min(len(spoiled), 1200)
        at = int(rng.integers(0, max(1, reach)))
        kind = int(rng.integers(0, 6))
        if kind == 0:
            spoiled[at : at + 1] = rng.bytes(1)
        elif kind == 1:
            text = TEXTS[int(rng.integers(len(TEXTS)))].ljust(8)
            at -= at % 8
            spoiled[at : at + 8] = text
        elif kind == 2:
            spoiled[at : at + 4] = int(rng.choice([0, 1, 255, 65535, 2**31 - 1, 2**32 - 1])).to_bytes(4, "little")
        elif kind == 3:
            del spoiled[at : at + int(rng.integers(1, 40))]
        elif kind == 4:
            spoiled[at:at] = spoiled[at : at + int(rng.integers(1, 200))]
        else:
            del spoiled[int(rng.integers(0, len(spoiled) + 1)) :]
    return bytes(spoiled)


def read_some(path: Path, rng: np.random.Generator) -> bool:
    """Whether the file was read; then blocks and ranges must agree, and values must be finite or NaN."""
    try:
        recording = open_recording(path, truncated="read" if rng.random() < 0.5 else "error")
        assert 0 < recording.fs < 1e9
        assert len(recording.leads) == len(set(recording.leads)) == len(recording.units) > 0
        length = 0
        for number, block in enumerate(recording.blocks(0.5)):
            assert block.shape[0] == len(recording.leads)
            assert not np.isinf(block).any()
            if number == 0:
                assert np.array_equal(block, recording.read(0, block.shape[1]), equal_nan=True)
            length += block.shape[1]
            if number > BLOCKS:
                return True
        assert length == recording.n_samples > 0
        assert all(remark.text.endswith(".") and "\n" not in remark.text for remark in recording.remarks)
    except EcgmoeError as error:
        refusal = str(error)
    else:
        return True
    assert "\n" not in refusal
    assert len(refusal) < 1500
    return False


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("times", [33, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_damaged_file_is_refused_or_read_in_little_memory(tmp_path: Path, name: str, times: int) -> None:
    for package in {"a.dcm": ["pydicom"], "a.h5": ["h5py"]}.get(name, []):
        pytest.importorskip(package)
    whole = FORMATS[name](tmp_path / name).read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read = 0
    for seed in range(times):
        rng = np.random.default_rng(seed)
        path = tmp_path / f"damaged-{name}"
        path.write_bytes(damaged(whole, rng))
        try:
            read += read_some(path, rng)
        except Exception as error:
            raise AssertionError(f"seed {seed} of {name}") from error
    assert read or times < 1000  # a file without an unimportant part is still read
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MOST_GROWN_MB

"""Fixtures of a drawn patient and of a small bundle."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from drawn_patient import FS, DrawnPatient, collected, draw
from wfdb_records import write_wfdb

from ecgmoe_edge.adapt.beats import PatientBeats

sys.path.append(str(Path(__file__).parents[1] / "runtime"))


@pytest.fixture(scope="session")
def drawn() -> DrawnPatient:
    return draw(120.0)


@pytest.fixture(scope="session")
def patient(drawn: DrawnPatient) -> PatientBeats:
    return collected(drawn)


@pytest.fixture
def write_patient(tmp_path: Path) -> Callable[..., Path]:
    """`write_patient("anna", drawn)`: writes a record with its annotations; returns its path."""
    pytest.importorskip("wfdb", reason="records need the records extra")

    def write(name: str, drawn: DrawnPatient, symbols: str | None = None) -> Path:
        folder = tmp_path / "records"
        return write_wfdb(folder, name, drawn.signal[None], FS, r_peaks=drawn.r_peaks, symbols=symbols or drawn.classes)

    return write


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime", reason="the small bundle runs in onnxruntime")
    from tiny_bundle import write_tiny_bundle

    return write_tiny_bundle(tmp_path / "tiny")

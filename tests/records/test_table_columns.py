"""Columns of a table by name and index, their units, counts of an A/D converter, and other signals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.formats.csv_record import CsvRecord, open_csv
from ecgmoe_edge.records.recording import voltage_leads
from ecgmoe_edge.records.registry import open_recording

_SIGNAL = np.round(np.random.default_rng(1).normal(0, 0.4, 200), 4)


def _table(folder: Path, header: str, *columns: Any, separator: str = ",") -> Path:
    path = folder / "ecg.csv"
    rows = zip(*(column if np.ndim(column) else [column] * len(_SIGNAL) for column in columns), strict=True)
    path.write_text(header + "\n" + "".join(separator.join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return path


def _all(record: CsvRecord) -> Any:
    return np.concatenate(list(record.blocks()), axis=1)


@pytest.mark.parametrize("columns", [["V1", "I"], [2, 0], ["2", "i"], ["V1 [uV]", "I (mV)"], ["v1", 0]])
def test_columns_are_chosen_by_name_label_or_index(tmp_path: Path, columns: list[str | int]) -> None:
    path = _table(tmp_path, "I (mV),II (mV),V1 [uV]", _SIGNAL, 2 * _SIGNAL, 3000 * _SIGNAL)
    record = open_recording(path, fs=250.0, columns=columns)
    assert (record.leads, record.units) == (("V1", "I"), ("uV", "mV"))
    np.testing.assert_allclose(record.read(), [3 * _SIGNAL, _SIGNAL])


@pytest.mark.parametrize(
    ("columns", "message"),
    [(["III"], "no lead 'III'"), ([7], "no lead 7"), ([], "was named"), (["I", 0], "named twice")],
)
def test_missing_columns_are_refused(tmp_path: Path, columns: list[str | int], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        open_csv(_table(tmp_path, "I,II", _SIGNAL, _SIGNAL), 250.0, columns=columns)


def test_columns_get_unique_names(tmp_path: Path) -> None:
    record = open_csv(_table(tmp_path, "ECG,ECG,,", _SIGNAL, 2 * _SIGNAL, 3 * _SIGNAL, 4 * _SIGNAL), 250.0)
    assert record.leads == ("ECG", "ECG (1)", "2", "3")
    np.testing.assert_allclose(_all(record), np.outer([1, 2, 3, 4], _SIGNAL))
    assert open_csv(record.path, 250.0, columns=["ecg (1)"]).leads == ("ECG (1)",)


@pytest.mark.parametrize(
    ("label", "name", "unit", "per_mv"),
    [
        ("ECG (mV)", "ECG", "mV", 1), ("II [uV]", "II", "uV", 1e3), ("ecg [µV]", "ecg", "uV", 1e3),
        ("ecg [\u03bcV]", "ecg", "uV", 1e3), ("ecg [\ufffdV]", "ecg", "uV", 1e3), ("ecg_uV", "ecg", "uV", 1e3),
        ("ecg_mV", "ecg", "mV", 1), ("V1 (V)", "V1", "V", 1e-3), ("II(nV)", "II", "nV", 1e6),
        ("Lead II (microvolts)", "Lead II", "uV", 1e3), ('"ECG, chest (uV)"', "ECG, chest", "uV", 1e3),
        (" II / mV ", "II", "mV", 1), ("ECG", "ECG", "mV", 1), ("uV", "uV", "uV", 1e3),
    ],
)  # fmt: skip
def test_the_unit_of_a_column_is_read_from_its_label(
    tmp_path: Path, label: str, name: str, unit: str, per_mv: float
) -> None:
    for other in ("", "V5"):
        path = _table(tmp_path, f"{label},{other}" if other else label, *([per_mv * _SIGNAL] * (1 + bool(other))))
        record = open_csv(path, 250.0)
        assert (record.leads[0], record.units[0]) == (name, unit)
        np.testing.assert_allclose(_all(record)[0], _SIGNAL)


def test_an_assumed_unit_gets_a_remark_and_a_contradicting_unit_is_refused(tmp_path: Path) -> None:
    path = _table(tmp_path, "I [uV],II", _SIGNAL, _SIGNAL)
    (remark,) = (remark for remark in open_csv(path, 250.0).remarks if remark.kind == "unit")
    assert remark.leads == ("II",)
    assert "--unit" in remark.text
    assert open_csv(path, 250.0, unit="µV").units == ("uV", "µV")
    with pytest.raises(UsageError, match=r"states I in uV, but --unit is mV"):
        open_csv(path, 250.0, unit="mV")
    assert open_csv(path, 250.0, unit="mV", columns=["II"]).units == ("mV",)


@pytest.mark.parametrize("unit", ["count", "counts", "adu", "LSB"])
def test_counts_of_an_ad_converter_are_scaled(tmp_path: Path, unit: str) -> None:
    counts = np.arange(200) % 37
    stated, plain = _table(tmp_path, f"II [{unit}]", counts), tmp_path / "plain.csv"
    plain.write_text("II\n" + "\n".join(map(str, counts)) + "\n")
    for path, options in (
        (stated, {}), (stated, {"unit": "count"}), (plain, {"unit": unit}), (plain, {})
    ):  # fmt: skip
        record = open_recording(path, fs=250.0, uv_per_lsb=2.5, **options)  # type: ignore[arg-type]
        np.testing.assert_allclose(record.read()[0], counts * 0.0025)
        assert voltage_leads(record) == ["II"]
    for path, options in ((stated, {}), (plain, {"unit": unit})):
        with pytest.raises(UsageError, match="give --uv-per-lsb"):
            open_recording(path, fs=250.0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        ("II [mV]", {"uv_per_lsb": 2.0}, "Omit --uv-per-lsb"),
        ("II [mV]", {"unit": "count", "uv_per_lsb": 2.0}, "--unit is count"),
        ("II [adu]", {"unit": "mV"}, "--unit is mV"),
        ("II", {"unit": "mV", "uv_per_lsb": 2.0}, "--unit is mV"),
        ("II", {"unit": "count", "uv_per_lsb": 0.0}, "is invalid"),
        ("II", {"uv_per_lsb": float("nan")}, "is invalid"),
    ],
)
def test_counts_and_volts_that_contradict_are_refused(
    tmp_path: Path, header: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        open_csv(_table(tmp_path, header, _SIGNAL), 250.0, **options)


@pytest.mark.parametrize(("large", "unit", "likely"), [(True, None, True), (True, "uV", False), (False, None, False)])
def test_large_integers_get_a_remark_about_counts_or_microvolts(
    tmp_path: Path, large: bool, unit: str | None, likely: bool
) -> None:
    numbers = np.random.default_rng(2).integers(-400, 1200, 200) if large else _SIGNAL
    remarks = [remark.text for remark in open_csv(_table(tmp_path, "II", numbers), 250.0, unit=unit).remarks]
    assert any("--unit count" in text for text in remarks) == likely


@pytest.mark.parametrize(
    "name",
    [
        "Resp [Ohm]",
        "marker",
        "Accel Channel 0",
        "annotation",
        "HR (bpm)",
        "temperature",
        "LO-",
        "ECG_Rate",
        "ECG_Quality",
        "ECG_R_Peaks",
        "Status (no_units)",
    ],
)
def test_other_signals_are_ignored_unless_they_are_chosen(tmp_path: Path, name: str) -> None:
    path = _table(tmp_path, f"ECG,{name}", _SIGNAL, np.arange(200) % 7 / 7)
    record = open_csv(path, 250.0)
    assert record.leads == ("ECG",)
    (remark,) = (remark for remark in record.remarks if remark.kind == "lead")
    assert remark.leads == (name.partition(" [")[0].partition(" (")[0],)
    chosen = open_csv(path, 250.0, columns=[0, 1])
    np.testing.assert_allclose(_all(chosen)[1], np.arange(200) % 7 / 7)
    assert len(voltage_leads(chosen)) == (1 if "[" in name or "(" in name else 2)


def test_text_columns_are_ignored(tmp_path: Path) -> None:
    record = open_csv(_table(tmp_path, "ECG,beat", _SIGNAL, ["N", "", "V", "N"] * 50), 250.0)
    assert record.leads == ("ECG",)
    np.testing.assert_allclose(_all(record)[0], _SIGNAL)


def test_a_table_without_a_column_that_may_be_an_ecg_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"No column of ecg\.csv can be an ECG"):
        open_csv(_table(tmp_path, "time,label", np.arange(200) / 250, "N"))

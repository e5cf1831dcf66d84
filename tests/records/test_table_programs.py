"""Tables as spreadsheets, pandas and recorders of several languages write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from text_tables import all_samples, random_signal, with_comma, write_table

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.formats.csv_record import open_csv


def _decimal_rows(signal: NDArray[np.float64], separator: str = ",") -> str:
    return "".join(separator.join(f"{value:.4f}" for value in row) + "\n" for row in signal.T)


@pytest.mark.parametrize("index", [True, False])
def test_column_numbers_of_pandas_are_no_samples(tmp_path: Path, index: bool) -> None:
    signal = np.stack([random_signal(seed=seed) for seed in range(2)])
    rows = _decimal_rows(signal).splitlines()
    text = ",0,1\n" + "".join(f"{k},{row}\n" for k, row in enumerate(rows)) if index else "0,1\n" + "\n".join(rows)
    record = open_csv(write_table(tmp_path, text), 250.0)
    assert record.leads == (("1", "2") if index else ("0", "1"))
    np.testing.assert_array_equal(all_samples(record), signal)


@pytest.mark.parametrize("cell", ["#N/A", "#NV", "#N/D", "#N/V", "<NA>"])
def test_a_cell_without_a_value_of_a_spreadsheet_is_a_missing_sample(tmp_path: Path, cell: str) -> None:
    signal = random_signal()
    signal[100:150] = np.nan
    text = "ECG\n" + "".join(f"{cell if np.isnan(value) else value}\n" for value in signal)
    np.testing.assert_array_equal(all_samples(open_csv(write_table(tmp_path, text), 250.0))[0], signal)


@pytest.mark.parametrize("cell", ["#DIV/0!", "#WERT!", "#¡VALOR!"])
def test_an_error_of_a_spreadsheet_is_no_comment(tmp_path: Path, cell: str) -> None:
    rows = [str(value) for value in random_signal()]
    rows[250] = cell
    with pytest.raises(RecordError, match="Line 252, column 1"):
        all_samples(open_csv(write_table(tmp_path, "ECG\n" + "\n".join(rows)), 250.0))


@pytest.mark.parametrize("row", [",", "NaN,NaN", ",,"])
def test_missing_samples_at_the_start_of_several_leads_keep_their_time(tmp_path: Path, row: str) -> None:
    signal = np.stack([random_signal(500, seed=seed) for seed in range(2)])
    text = "I,II\n" + f"{row}\n" * 90 + _decimal_rows(signal[:, 90:])
    record = open_csv(write_table(tmp_path, text), 250.0)
    assert record.leads == ("I", "II")
    signal[:, :90] = np.nan
    np.testing.assert_array_equal(all_samples(record), signal)


def test_points_that_may_separate_thousands_are_refused(tmp_path: Path) -> None:
    microvolts = np.round(1500 * np.sin(np.arange(300) / 20)).astype(int)
    text = "".join(f"{value:,}\n".replace(",", ".") for value in microvolts.tolist())
    with pytest.raises(RecordError, match="separate thousands"):
        open_csv(write_table(tmp_path, text), 250.0, unit="uV")


def test_a_mark_of_missing_samples_among_decimals_is_not_taken_for_thousands(tmp_path: Path) -> None:
    volts = np.round(1.5 + 0.1 * np.sin(np.arange(300) / 20), 3)
    rows = ["0" if k % 50 == 7 else f"{value:.3f}" for k, value in enumerate(volts.tolist())]
    values = all_samples(open_csv(write_table(tmp_path, "\n".join(rows)), 250.0, unit="V"))[0]
    np.testing.assert_allclose(values[[0, 7]], [1500.0, 0.0])


@pytest.mark.parametrize("counter", [True, False])
def test_decimal_commas_between_commas_are_refused_with_several_columns(tmp_path: Path, counter: bool) -> None:
    signal = np.stack([random_signal(seed=seed) for seed in range(1 if counter else 2)])
    rows = [",".join(([str(k)] if counter else []) + [with_comma(v) for v in row]) for k, row in enumerate(signal.T)]
    with pytest.raises(RecordError, match="decimal commas and also commas"):
        open_csv(write_table(tmp_path, "\n".join(rows)), 250.0)


def test_rows_of_types_and_of_units_with_a_key_are_not_names(tmp_path: Path) -> None:
    signal = np.stack([random_signal(seed=seed) for seed in range(2)])
    typed = open_csv(write_table(tmp_path, "I,II\nfloat64,float64\n" + _decimal_rows(signal), "typed.csv"), 250.0)
    assert typed.leads == ("I", "II")
    rows = "".join(f"{k},{row}\n" for k, row in enumerate(_decimal_rows(signal).splitlines()))
    keyed = open_csv(write_table(tmp_path, "row,I,II\nunits,uV,mV\n" + rows, "keyed.csv"), 250.0)
    assert (keyed.leads, keyed.units) == (("I", "II"), ("uV", "mV"))


@pytest.mark.parametrize("key", ["Frecuencia de muestreo,250 hercios", "Bemonsteringsfrequentie,250 Hz"])
def test_the_rate_is_read_in_more_languages(tmp_path: Path, key: str) -> None:
    text = f"{key}\nUnit,uV\n\n" + "".join(f"{value}\n" for value in random_signal())
    assert open_csv(write_table(tmp_path, text)).fs == 250.0


def test_the_numbers_of_samples_below_the_names_of_biopac_are_no_samples(tmp_path: Path) -> None:
    signal = np.stack([random_signal(seed=seed) for seed in range(2)])
    head = "rest.acq\n4 msec/sample\n2 channels\nECG\nmV\nRSP\nVolts\nsec,CH1,CH2,\n,300,300,\n"
    rows = _decimal_rows(signal).splitlines()
    record = open_csv(write_table(tmp_path, head + "".join(f"{k * 0.004:.3f},{row},\n" for k, row in enumerate(rows))))
    assert (record.leads, record.fs) == (("CH1", "CH2"), 250.0)
    np.testing.assert_array_equal(all_samples(record), signal)

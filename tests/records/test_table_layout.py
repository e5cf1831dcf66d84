"""Separator, decimal mark, header, units, preamble and footer of a table."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from text_tables import all_samples, random_signal, with_comma, write_table

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.formats.csv_record import open_csv
from ecgmoe_edge.records.registry import open_recording


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "  ", ", ", "; ", " \t "])
@pytest.mark.parametrize("header", ["I{0}II{0}V1\n", ""])
def test_every_separator_is_found(tmp_path: Path, separator: str, header: str) -> None:
    signal = np.stack([random_signal(seed=seed) for seed in range(3)])
    text = header.format(separator) + "".join(separator.join(map(str, row)) + "\n" for row in signal.T)
    record = open_csv(write_table(tmp_path, text), 250.0)
    assert record.leads == (("I", "II", "V1") if header else ("0", "1", "2"))
    np.testing.assert_array_equal(all_samples(record), signal)


@pytest.mark.parametrize("separator", [";", "\t", "|", " ", "quotes"])
@pytest.mark.parametrize("header", [True, False])
def test_decimal_commas_are_read(tmp_path: Path, separator: str, header: bool) -> None:
    signal = np.stack([random_signal(seed=seed) for seed in range(2)])
    rows = [[with_comma(value) for value in row] for row in signal.T]
    if separator == "quotes":
        text = ("I,II\n" if header else "") + "".join(f'"{one}","{other}"\n' for one, other in rows)
    else:
        text = (f"I{separator}II\n" if header else "") + "".join(f"{separator.join(row)}\n" for row in rows)
    record = open_csv(write_table(tmp_path, text), 250.0)
    assert record.leads == (("I", "II") if header else ("0", "1"))
    np.testing.assert_array_equal(all_samples(record), signal)


@pytest.mark.parametrize("header", ["EKG\n", ""])
@pytest.mark.parametrize("strip", [False, True])
def test_one_column_of_decimal_commas_is_one_lead(tmp_path: Path, header: str, strip: bool) -> None:
    signal = random_signal(2000)
    cells = [with_comma(value).rstrip("0").rstrip(",") if strip else with_comma(value) for value in signal]
    record = open_csv(write_table(tmp_path, header + "\n".join(cells) + "\n"), 250.0)
    np.testing.assert_array_equal(all_samples(record), signal[None])


def test_two_columns_of_integers_are_two_leads(tmp_path: Path) -> None:
    k = np.arange(400)
    counts = np.stack([512 + 300 * np.sin(k / 9), 500 + 200 * np.sin(k / 11)]).round()
    rows = "".join(f"{one:.0f},{other:.0f}\n" for one, other in counts.T)
    for text in (rows, "I,II\n" + rows):
        np.testing.assert_allclose(all_samples(open_csv(write_table(tmp_path, text), 250.0, unit="uV")), counts / 1000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("".join(f"{12 + k % 2},{3 + k % 7}\n" for k in range(100)), "may be a decimal comma or separate two columns"),
        ("I,II\n" + "".join(f"0,{k:04d},0,{k + 7:04d}\n" for k in range(100)), "commas and also commas between"),
        ("".join(f"0,{k:04d},0,{k + 7:04d}\n" for k in range(100)), "decimal commas and also commas between"),
        ('I,II\n' + "".join(f'"1,{k + 100}.5",1\n' for k in range(50)), "thousands separator"),
        ("I;II\n" + "".join(f"1.{k + 100},5;1\n" for k in range(50)), "thousands separator"),
        ("I;II\n" + "".join(f"1,{k + 100};1\n" for k in range(50)), "may be a decimal comma or separate thousands"),
        ("I;II\n" + "".join(f"0,{k + 1};1\n0.{k + 1};1\n" for k in range(50)), "decimal comma and a decimal point"),
        ("a,b\n" + "1,2,3\n" * 30, "names 2 columns, but the rows below have 3"),
    ],
)  # fmt: skip
def test_an_ambiguous_layout_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecordError, match=message) as refused:
        all_samples(open_csv(write_table(tmp_path, text), 250.0))
    assert "rite" in str(refused.value) or "Name every column" in str(refused.value)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("1,5", "a decimal comma where the lines before have none"),
        ("1,234.5", "thousands separator"),
        ("0.5.1", "not a number"),
        ("lead off", "not a number"),
    ],
)
def test_an_invalid_cell_is_reported_with_line_and_column(tmp_path: Path, cell: str, message: str) -> None:
    rows = ["0.5;0.25"] * 6000
    rows[5500] = f"0.5;{cell}"
    with pytest.raises(RecordError, match=rf"Line 5502, column 2 \(II\) of ecg\.csv contains '{cell}', .*{message}"):
        all_samples(open_csv(write_table(tmp_path, "I;II\n" + "\n".join(rows) + "\n"), 250.0))


@pytest.mark.parametrize("row", ["0.5", "0.5,0.25,7", "0.5,0,25"])
def test_a_row_of_another_length_is_reported_with_its_line(tmp_path: Path, row: str) -> None:
    rows = ["0.5,0.25"] * 6000
    rows[5500] = row
    with pytest.raises(RecordError, match=r"Line 5502 of ecg\.csv"):
        all_samples(open_csv(write_table(tmp_path, "I,II\n" + "\n".join(rows) + "\n"), 250.0))


@pytest.mark.parametrize("header", ["I,II,\n", "I,II\n"])
def test_trailing_separators_are_not_a_column(tmp_path: Path, header: str) -> None:
    signal = np.stack([random_signal(seed=seed) for seed in range(2)])
    record = open_csv(write_table(tmp_path, header + "".join(f"{one},{other},\n" for one, other in signal.T)), 250.0)
    assert record.leads == ("I", "II")
    np.testing.assert_array_equal(all_samples(record), signal)


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "NA", "N/A", "null", "NULL", "-", "?", "None", '""', " nan "])
@pytest.mark.parametrize("width", [1, 2])
def test_every_mark_of_a_missing_sample_is_nan(tmp_path: Path, missing: str, width: int) -> None:
    signal = random_signal(500)
    signal[[5, 100, 101, 499 if missing.strip('" ') else 498]] = np.nan
    cells = [missing if np.isnan(value) else str(value) for value in signal]
    rows = cells if width == 1 else [f"{cell},{k % 3 / 10}" for k, cell in enumerate(cells)]
    record = open_csv(write_table(tmp_path, ("ECG\n", "ECG,II\n")[width - 1] + "\n".join(rows) + "\n"), 250.0)
    np.testing.assert_array_equal(all_samples(record)[0], signal)


@pytest.mark.parametrize("comments", [["# made by X200", "# unit: mV"], ["%a", "% b"], ["// c"], ["; note: d", ""]])
@pytest.mark.parametrize("header", ["I,II\n", ""])
def test_comments_above_the_samples_are_ignored(tmp_path: Path, comments: list[str], header: str) -> None:
    signal = np.stack([random_signal(seed=seed) for seed in range(2)])
    text = "\n".join(comments) + "\n" + header + "".join(f"{one},{other}\n" for one, other in signal.T)
    record = open_csv(write_table(tmp_path, text), 250.0)
    assert record.leads == (("I", "II") if header else ("0", "1"))
    np.testing.assert_array_equal(all_samples(record), signal)


def test_labels_in_the_last_comment_are_read(tmp_path: Path) -> None:
    rows = "".join(f"{k / 250:.3f} {value}\n" for k, value in enumerate(random_signal()))
    record = open_csv(write_table(tmp_path, "# made by numpy\n# time ecg\n" + rows))
    assert (record.leads, record.fs) == (("ecg",), 250.0)


@pytest.mark.parametrize(
    ("line", "fs"),
    [
        ("# rate: 360 Hz", 360.0),
        ("%Sample Rate = 250.0 Hz", 250.0),
        ("Sample Rate,512 hertz", 512.0),
        ("Sampling frequency [Hz]: 500", 500.0),
        ("Abtastrate;1 kHz", 1000.0),
        ("# fs=128", 128.0),
        ("Sampling interval: 4 ms", 250.0),
        ("# sampling rate,300 samples/s", 300.0),
    ],
)
def test_a_rate_in_the_preamble_is_used_with_a_remark(tmp_path: Path, line: str, fs: float) -> None:
    text = f"{line}\nECG\n" + "\n".join(map(str, random_signal())) + "\n"
    record = open_csv(write_table(tmp_path, text))
    assert (record.fs, record.leads) == (fs, ("ECG",))
    assert any(f"{fs:g} Hz is stated" in remark.text for remark in record.remarks if remark.kind == "rate")
    with pytest.raises(UsageError, match=r"--fs is 77 Hz"):
        open_csv(write_table(tmp_path, text), 77.0)


def test_a_filter_frequency_in_the_preamble_is_not_a_rate(tmp_path: Path) -> None:
    path = write_table(
        tmp_path, "# notch: 50 Hz\n# band: 0.5-40 Hz\nECG\n" + "\n".join(map(str, random_signal())) + "\n"
    )
    with pytest.raises(UsageError, match="--fs"):
        open_csv(path)


@pytest.mark.parametrize("german", [False, True])
def test_the_preamble_of_a_watch_gives_rate_unit_and_lead(tmp_path: Path, german: bool) -> None:
    signal = 1000 * random_signal(3000)
    lines = [
        'Name,"Doe, J."', "Date of Birth,1 Jan 1970", "Recorded Date,2024-03-05 22:59:40 +0100",
        "Classification,Sinus Rhythm", "Symptoms,", "Software Version,1.90", 'Device,"Watch6,2"',
        "Sample Rate,512 hertz", "", "", "Lead,Lead I", "Unit,µV", "",
    ]  # fmt: skip
    cells = [f"{value:.3f}" for value in signal]
    if german:
        lines = [line.replace(",", ";", 1) for line in lines]
        cells = [cell.replace(".", ",") for cell in cells]
    record = open_csv(write_table(tmp_path, "\n".join(lines + cells) + "\n"))
    assert (record.fs, record.leads, record.units) == (512.0, ("Lead I",), ("uV",))
    np.testing.assert_allclose(all_samples(record)[0], signal / 1000, atol=1e-6)


def test_the_export_of_a_phone_monitor_is_read(tmp_path: Path) -> None:
    signal = random_signal(3000)
    text = "Patient: anonymous\nRecorded: 2024-03-05\nSample rate: 300 Hz\nUnits: mV\n\nLead I,Lead II\n"
    rows = "".join(f"{value},{-value}\n" for value in signal)
    record = open_csv(write_table(tmp_path, text + rows))
    assert (record.fs, record.leads, record.units) == (300.0, ("Lead I", "Lead II"), ("mV", "mV"))
    np.testing.assert_array_equal(all_samples(record), [signal, -signal])


def test_the_table_of_an_openbci_board_is_read(tmp_path: Path) -> None:
    signal = 1000 * random_signal(2000) - 20321.7
    names = ["Sample Index", *(f"EXG Channel {k}" for k in range(8)), *(f"Accel Channel {k}" for k in range(3))]
    names += ["Other"] * 7 + [f"Analog Channel {k}" for k in range(3)] + ["Timestamp", "Other", "Timestamp (Formatted)"]
    lines = [
        "%OpenBCI Raw EXG Data",
        "%Number of channels = 8",
        "%Sample Rate = 250 Hz",
        "%Board = X",
        ", ".join(names),
    ]
    for k, value in enumerate(signal):
        cells = [f"{k % 256}.0", f"{value:.4f}", *["-187500.02235174447"] * 7, "0.0", "0.1", "1.0", *["7.0"] * 7]
        cells += ["0.0"] * 3 + [f"{1.7e9 + k / 250:.6f}", "0.0", f"2024-03-05 22:00:{k // 250:02d}.{4 * (k % 250):03d}"]
        lines.append(", ".join(cells))
    record = open_csv(write_table(tmp_path, "\n".join(lines) + "\n", "OpenBCI-RAW.txt"))
    assert (record.fs, record.leads, record.units) == (250.0, ("EXG Channel 0",), ("uV",))
    np.testing.assert_allclose(all_samples(record)[0], signal / 1000, atol=1e-6)
    (ignored,) = (remark for remark in record.remarks if remark.kind == "lead")
    assert "EXG Channel 7" in ignored.leads
    railed = open_csv(record.path, columns=["EXG Channel 0", "EXG Channel 7", "other"])
    assert railed.leads == ("EXG Channel 0", "EXG Channel 7", "Other")


@pytest.mark.parametrize(
    "footer", ["# end", "End of file", "-- end of data --\n\n", "\n\nwritten by X200\nno warranty"]
)
@pytest.mark.parametrize("width", [1, 3])
def test_a_footer_is_ignored_with_a_remark(tmp_path: Path, footer: str, width: int) -> None:
    signal = np.stack([random_signal(seed=seed) for seed in range(width)])
    rows = "".join(",".join(map(str, row)) + "\n" for row in signal.T)
    record = open_csv(write_table(tmp_path, ",".join(["I", "II", "V1"][:width]) + "\n" + rows + footer), 250.0)
    np.testing.assert_array_equal(all_samples(record), signal)
    assert any("not a row of samples" in remark.text for remark in record.remarks if remark.kind == "length")


def test_empty_lines_above_the_header_and_at_the_end_are_ignored(tmp_path: Path) -> None:
    for width, header in ((1, "I"), (2, "I,II")):
        signal = np.stack([random_signal(seed=seed) for seed in range(width)])
        rows = "".join(",".join(map(str, row)) + "\n" for row in signal.T)
        np.testing.assert_array_equal(
            all_samples(open_csv(write_table(tmp_path, f"\n\n{header}\n\n{rows}\n\n"), 250.0)), signal
        )


def test_empty_lines_are_ignored_if_there_is_a_time_column(tmp_path: Path) -> None:
    rows = "".join(f"{k / 250:.3f},{k}\n" + "\n" * (k % 50 == 7) for k in range(500))
    assert open_csv(write_table(tmp_path, "time,ECG\n" + rows)).n_samples == 500


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_small_table_with_one_row_per_lead_is_transposed(tmp_path: Path, header: bool, separator: str) -> None:
    signal = np.stack([random_signal(5000, seed=seed) for seed in range(2)])
    lines = [
        separator.join([*([name] if header else []), *map(str, row)]) for name, row in zip("ab", signal, strict=True)
    ]
    record = open_csv(write_table(tmp_path, "\n".join(lines) + "\n"), 250.0)
    assert record.leads == (("a", "b") if header else ("0", "1"))
    np.testing.assert_array_equal(all_samples(record), signal)
    assert any("transposed" in remark.text for remark in record.remarks)


def test_a_transposed_table_may_have_a_row_of_times(tmp_path: Path) -> None:
    signal = random_signal(3000)
    text = "time," + ",".join(f"{k / 250:.3f}" for k in range(3000)) + "\nECG," + ",".join(map(str, signal)) + "\n"
    record = open_csv(write_table(tmp_path, text))
    assert (record.leads, record.fs) == (("ECG",), 250.0)
    np.testing.assert_array_equal(all_samples(record), signal[None])


def test_a_large_table_with_one_row_per_lead_is_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path, "0.123456789," * 1_500_000 + "\n" + "0.123456789," * 1_500_000 + "\n")
    with pytest.raises(RecordError, match="one row per sample"):
        open_csv(path, 250.0)


def test_quotes_follow_rfc_4180(tmp_path: Path) -> None:
    signal = random_signal()
    rows = "".join(f'"{value}","said ""so"", twice",{-value}\n' for value in signal)
    record = open_csv(write_table(tmp_path, '"I","note, long","II"\n' + rows), 250.0)
    assert record.leads == ("I", "II")
    np.testing.assert_array_equal(all_samples(record), [signal, -signal])


def test_an_unclosed_quote_is_reported_with_its_line(tmp_path: Path) -> None:
    rows = ["0.5,0.25"] * 300
    rows[150] = '"0.5,0.25'
    with pytest.raises(RecordError, match=r"Line 152 of ecg\.csv has an opening quote"):
        all_samples(open_csv(write_table(tmp_path, "I,II\n" + "\n".join(rows) + "\n"), 250.0))


def test_every_separator_and_order_of_header_rows(tmp_path: Path) -> None:
    signal = random_signal()
    for separator, units_first in itertools.product((",", ";", "\t"), (False, True)):
        head = [separator.join(("MLII", "V1")), separator.join(("mV", "uV"))]
        text = "\n".join(head[::-1] if units_first else head) + "\n"
        text += "".join(f"{value}{separator}{-400 * value:.1f}\n" for value in signal)
        record = open_csv(write_table(tmp_path, text), 360.0)
        assert (record.leads, record.units) == (("MLII", "V1"), ("mV", "uV"))
        np.testing.assert_allclose(all_samples(record)[1], -0.4 * signal, atol=1e-4)


_ROWS = "".join(f"{k / 250:.3f}\t{value}\n" for k, value in enumerate(random_signal()))
_ONE = "".join(f"{value}\n" for value in random_signal())


@pytest.mark.parametrize(
    ("head", "rows", "lead", "unit"),
    [
        ("Interval=\t0.004 s\nChannelTitle=\tECG\nRange=\t10.000 V\nUnitName=\tmV\n", _ROWS, "ECG", "mV"),
        ("Interval=\t0.004 s\nChannelTitle=\tECG\nRange=\t5.000 uV\n", _ROWS, "ECG", "uV"),
        ("Sample Rate: 250 Hz. Sample values on linear scale. 1 channel (mono).\n", _ONE, "0", "mV"),
        ("rec.acq\n4 msec/sample\n1 channels\n", _ONE, "0", "mV"),
        ('# OpenSignals Text File Format\n# {"x": {"sampling rate": 250, "a": 1}}\n# EndOfHeader\n', _ONE, "0", "mV"),
        ("sep=\t\ntime\tECG\n", _ROWS, "ECG", "mV"),
        ("Units: uV\ntime\tECG\n", _ROWS, "ECG", "uV"),
        ("time\tecg\n[s]\t[mV]\n", _ROWS, "ecg", "mV"),
    ],
)
def test_heads_of_well_known_programs_are_read(tmp_path: Path, head: str, rows: str, lead: str, unit: str) -> None:
    record = open_csv(write_table(tmp_path, head + rows, "ecg.txt"))
    assert (record.fs, record.leads, record.units) == (250.0, (lead,), (unit,))
    np.testing.assert_allclose(all_samples(record)[0], random_signal() * (1 if unit == "mV" else 1e-3))


def test_row_numbers_without_a_label_are_not_a_lead(tmp_path: Path) -> None:
    for header in ("ECG", ",ECG", '"","ECG"'):
        rows = "".join(f"{k + 1},{value}\n" for k, value in enumerate(random_signal()))
        record = open_csv(write_table(tmp_path, f"{header}\n{rows}"), 250.0)
        assert record.leads == ("ECG",)
        np.testing.assert_array_equal(all_samples(record)[0], random_signal())


@pytest.mark.parametrize("text", ['{"fs": 250, "ecg": [1, 2, 3]}\n', "<html><p>1</p></html>\n", "[[1, 2], [3, 4]]\n"])
def test_json_and_html_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecordError, match="JSON, HTML or XML"):
        open_csv(write_table(tmp_path, text * 20), 250.0)


def test_an_incomplete_last_row_is_ignored_on_request(tmp_path: Path) -> None:
    path = write_table(tmp_path, "I,II\n" + "0.5,0.25\n" * 100 + "0.5")
    with pytest.raises(RecordError, match=r"Line 102 of ecg\.csv ends before column 2"):
        all_samples(open_csv(path, 250.0))
    assert open_recording(path, fs=250.0, truncated="read").n_samples == 100


def test_a_wide_table_of_few_rows_is_not_transposed(tmp_path: Path) -> None:
    header = ",".join(f"ch{k}" for k in range(120))
    rows = "\n".join(",".join(str(k / 8) for k in range(120)) for _ in range(60))
    assert open_csv(write_table(tmp_path, f"{header}\n{rows}\n"), 250.0).n_samples == 60

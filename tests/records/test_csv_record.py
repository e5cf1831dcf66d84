from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.formats.csv_record import open_csv


def _write(folder: Path, text: str) -> Path:
    path = folder / "ecg.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_named_columns_are_read_in_millivolts_and_in_blocks(tmp_path: Path) -> None:
    rows = "\n".join(f"{row / 250},{row},{-row}" for row in range(601))
    record = open_csv(_write(tmp_path, f"time,II,V1\n{rows}\n"), 250.0, unit="uV", columns=["V1", "II"])
    blocks = list(record.blocks(seconds=1.0))
    assert record.leads == ("V1", "II")
    assert [block.shape for block in blocks] == [(2, 250), (2, 250), (2, 101)]
    np.testing.assert_allclose(np.concatenate(blocks, axis=1)[1], np.arange(601) / 1000)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " ", ", "])
def test_a_table_without_header_is_read_by_index(tmp_path: Path, delimiter: str) -> None:
    text = "\n".join(delimiter.join((str(row), str(row / 8))) for row in range(10))
    record = open_csv(_write(tmp_path, text), 100.0, columns=[1])
    np.testing.assert_allclose(np.concatenate(list(record.blocks(0.03)), axis=1)[0], np.arange(10) / 8)


def test_an_empty_cell_is_an_invalid_sample(tmp_path: Path) -> None:
    record = open_csv(_write(tmp_path, "I,II\n1,2\n,4\nnan,6\n"), 100.0)
    (block,) = record.blocks()
    np.testing.assert_array_equal(block, [[1, np.nan, np.nan], [2, 4, 6]])


@pytest.mark.parametrize("header", ["II\n", ""])
def test_an_empty_line_of_one_column_is_an_invalid_sample(tmp_path: Path, header: str) -> None:
    rows = ["0.5"] * 20 + [""] * 45 + ['""', "  "] + ["0.25"] * 30
    record = open_csv(_write(tmp_path, header + "\n".join(rows) + "\n"), 10.0)
    for seconds in (1.0, 60.0):
        samples = np.concatenate(list(record.blocks(seconds)), axis=1)
        np.testing.assert_array_equal(samples, [[0.5] * 20 + [np.nan] * 47 + [0.25] * 30])


@pytest.mark.parametrize("delimiter", [",", "\t", " "])
def test_an_empty_line_within_a_table_of_several_columns_is_reported(tmp_path: Path, delimiter: str) -> None:
    rows = [f"{row}{delimiter}1" for row in range(25)]
    text = "\n".join([f"I{delimiter}II", *rows, "", "", *rows]) + "\n"
    with pytest.raises(RecordError, match=r"Line 27 of ecg\.csv is empty"):
        list(open_csv(_write(tmp_path, text), 10.0).blocks(seconds=1.0))


def test_empty_lines_at_the_end_of_a_table_are_ignored(tmp_path: Path) -> None:
    (block,) = open_csv(_write(tmp_path, "I,II\n1,2\n3,4\n\n \n\n"), 100.0).blocks()
    assert block.tolist() == [[1, 3], [2, 4]]


def test_a_row_of_tabs_is_an_invalid_sample(tmp_path: Path) -> None:
    (block,) = open_csv(_write(tmp_path, "I\tII\n1\t2\n\t\n3\t4\n"), 100.0).blocks()
    np.testing.assert_array_equal(block, [[1, np.nan, 3], [2, np.nan, 4]])


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e400", '"inf"'])
def test_an_infinite_cell_is_reported_with_line_and_column(tmp_path: Path, cell: str) -> None:
    record = open_csv(_write(tmp_path, f"I,II\n1,2\n3,{cell}\n"), 100.0)
    with pytest.raises(RecordError, match=r"Line 3, column 2 \(II\) of ecg\.csv contains .* not a finite number"):
        list(record.blocks())


@pytest.mark.parametrize("text", ["II\n", "I,II\n", "I,II\n\n\n"])
def test_a_header_without_samples_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecordError, match=r"ecg\.csv contains no samples"):
        list(open_csv(_write(tmp_path, text), 100.0).blocks())


def test_text_in_a_cell_is_reported_with_line_and_column(tmp_path: Path) -> None:
    text = "t,II\n" + "".join(f"{row},0.5\n" for row in range(300)) + "300,lead off\n301,0.5\n"
    record = open_csv(_write(tmp_path, text), 100.0, columns=["II"])
    with pytest.raises(RecordError, match=r"Line 302, column 2 \(II\) of ecg\.csv contains 'lead off'"):
        list(record.blocks(seconds=1.0))


def test_text_in_an_unused_column_is_ignored(tmp_path: Path) -> None:
    record = open_csv(_write(tmp_path, "clock,II\n10:00:01,1\n10:00:02,2\n"), 100.0, columns=["II"])
    (block,) = record.blocks()
    assert block.tolist() == [[1.0, 2.0]]


def test_a_row_that_is_too_short_is_reported(tmp_path: Path) -> None:
    record = open_csv(_write(tmp_path, "I,II\n1,2\n3\n"), 100.0)
    with pytest.raises(RecordError, match=r"Line 3 of ecg\.csv ends before column 2"):
        list(record.blocks())


@pytest.mark.parametrize(
    ("fs", "unit", "columns", "message"),
    [
        (0.0, "mV", None, "rate of 0.0 Hz is invalid"),
        (float("nan"), "mV", None, "is invalid"),
        (100.0, "furlong", None, "'furlong' is not a voltage"),
        (100.0, "mV", ["III"], "no lead 'III'. It has I, II"),
    ],
)
def test_invalid_arguments_are_refused_before_samples_are_read(
    tmp_path: Path, fs: float, unit: str, columns: list[str | int] | None, message: str
) -> None:
    with pytest.raises(RecordError, match=message):
        open_csv(_write(tmp_path, "I,II\n1,2\n"), fs, unit=unit, columns=columns)


def test_a_file_that_is_missing_empty_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="There is no file"):
        open_csv(tmp_path / "none.csv", 100.0)
    with pytest.raises(RecordError, match="empty line"):
        open_csv(_write(tmp_path, ""), 100.0)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(bytes(range(128, 256)) * 10)
    with pytest.raises(RecordError, match="not a text file"):
        open_csv(binary, 100.0)


def test_a_long_table_is_read_block_by_block(tmp_path: Path) -> None:
    path = _write(tmp_path, "II\n" + "0.25\n" * 100_000)
    tracemalloc.start()
    try:
        samples = sum(block.shape[1] for block in open_csv(path, 500.0).blocks(seconds=10.0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert samples == 100_000
    assert peak < 3e6

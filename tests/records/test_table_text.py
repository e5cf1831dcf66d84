"""Encodings and line ends of a table, and files that are not text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.formats.csv_record import open_csv

_SIGNAL = np.round(np.random.default_rng(0).normal(0, 400, 12_000), 1)
_TEXT = "time (s),EKG für Ü [µV]\n" + "".join(f"{k / 250:.3f},{value}\n" for k, value in enumerate(_SIGNAL))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252", "latin-1"])
@pytest.mark.parametrize("last", [True, False])
def test_every_encoding_and_line_end_gives_the_same_samples(
    tmp_path: Path, encoding: str, end: str, last: bool
) -> None:
    path = tmp_path / "ecg.csv"
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    text = _TEXT if last else _TEXT[:-1]
    path.write_bytes(mark + text.replace("\n", end).encode(encoding))
    record = open_csv(path)
    assert (record.leads, record.units, record.fs) == (("EKG für Ü",), ("uV",), 250.0)
    np.testing.assert_allclose(np.concatenate(list(record.blocks(9.0)), axis=1)[0], _SIGNAL / 1000)
    assert any(remark.kind == "encoding" for remark in record.remarks) == (not encoding.startswith("utf-8"))


@pytest.mark.parametrize("encoding", ["shift_jis", "gb18030", "cp1251"])
def test_names_in_another_encoding_do_not_prevent_reading(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "ecg.csv"
    name = "心電図" if encoding != "cp1251" else "Экспертиза"
    path.write_bytes(
        f"time [ms],{name}\n".encode(encoding) + "".join(f"{4 * k},{v}\n" for k, v in enumerate(_SIGNAL)).encode()
    )
    record = open_csv(path)
    assert (record.fs, len(record.leads), record.leads[0].isprintable()) == (250.0, 1, True)
    np.testing.assert_allclose(np.concatenate(list(record.blocks(9.0)), axis=1)[0], _SIGNAL)


def test_a_unicode_minus_sign_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ecg.csv"
    path.write_text("I,II\n" + "\u22120.5,0.25\n" * 50, encoding="utf-8")
    assert open_csv(path, 250.0).read(0, 1).tolist() == [[-0.5], [0.25]]


@pytest.mark.parametrize("at", [3, 30_000])
def test_nul_bytes_are_refused(tmp_path: Path, at: int) -> None:
    path = tmp_path / "ecg.csv"
    path.write_bytes(b"II\n" + b"0.5\n" * at + b"\0\0\0\n" + b"0.5\n" * 70_000)
    with pytest.raises(RecordError, match=r"ecg\.csv contains NUL bytes"):
        list(open_csv(path, 250.0).blocks())


def test_utf_16_without_a_byte_order_mark_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "ecg.csv"
    path.write_bytes(_TEXT[:2000].encode("utf-16-le"))
    with pytest.raises(RecordError, match="Save it as UTF-8"):
        open_csv(path)


def test_an_invalid_byte_is_reported_with_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "ecg.csv"
    path.write_bytes(b"I,II\n" + b"0.5,0.25\n" * 90_000 + b"0.5,\xff\n" + b"0.5,0.25\n" * 90_000)
    with pytest.raises(RecordError, match=r"Line 90002, column 2 \(II\)"):
        list(open_csv(path, 250.0).blocks())


def test_an_extremely_long_line_is_refused_with_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "ecg.csv"
    path.write_bytes(b"II\n" + b"0.5\n" * 70_000 + b"7" * 3_000_000)
    with pytest.raises(RecordError, match="lines of more than"):
        list(open_csv(path, 250.0).blocks())

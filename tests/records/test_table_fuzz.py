"""Random tables: a valid table gives its samples, a damaged table gives samples or an error of one sentence."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.registry import open_recording

_FS = 250.0
_MOST_BLOCKS = 40
_LARGEST_GROWTH_KB = 300 * 1024
_PIECES = (
    b"\0", b"\xff", b"\xc2\xb5", b"\r", b"\n", b"\r\n", b",", b";", b"\t", b'"', b"'", b"-", b"nan", b"inf", b"1e999",
    b"1e308", b"# x\n", b"%", b"time", b"[uV]", b"0,5", b"1.234,5", b"1,234.5", b"2024-03-05 10:00:00", b"99:99:99",
    b"9" * 400, b"x" * 5000, b",,,,", b"\n\n\n", b"1_000", b"0x10", "\u0665".encode(), b"--5", b"e5", b"NaT", b"\x1a",
)  # fmt: skip


class _RandomTable:
    """A valid table: its text and the expected samples."""

    def __init__(self, rng: np.random.Generator) -> None:
        n, self.width = int(rng.integers(40, 400)), int(rng.integers(1, 4))
        self.signal = np.round(rng.normal(0, 0.5, (self.width, n)), 4)
        self.timed = bool(rng.random() < 0.5)
        separator = str(rng.choice([",", ";", "\t", "|", " "]))
        comma = separator != "," and rng.random() < 0.4
        missing = str(rng.choice(["", "nan", "NA", "-"])) if separator != " " else "nan"
        self.signal[rng.random(self.signal.shape) < 0.02] = np.nan
        self.signal[:, [0, -1]] = 0.25
        names = ["I", "II", "V1"][: self.width]
        rows = [[missing if np.isnan(value) else f"{value:.4f}" for value in row] for row in self.signal.T]
        kept = np.ones(n, dtype=bool)
        if self.timed:
            write = _TIMES[int(rng.integers(len(_TIMES)))]
            names.insert(0, write[0])
            rows = [[write[1](k), *row] for k, row in enumerate(rows)]
            if rng.random() < 0.5:
                start = int(rng.integers(20, n - 10))
                kept[start : start + int(rng.integers(1, 9))] = False
                self.signal[:, ~kept] = np.nan
        if comma:
            rows = [[cell.replace(".", ",") for cell in row] for row in rows]
        lines = [separator.join(row) for row, keep in zip(rows, kept, strict=True) if keep]
        if self.timed or rng.random() < 0.7:
            lines.insert(0, separator.join(names))
        if rng.random() < 0.3:
            lines[:0] = ["# recorder: X200", "# note"]
        end = str(rng.choice(["\n", "\r\n", "\r"]))
        encoding = str(rng.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
        self.data = (end.join(lines) + end * bool(rng.random() < 0.7)).encode(encoding)


_TIMES: tuple[tuple[str, Callable[[int], str]], ...] = (
    ("time", lambda k: f"{k / _FS:.3f}"),
    ("ms", lambda k: str(4 * k)),
    ("timestamp", lambda k: str(1_709_679_580_000 + 4 * k)),
    ("clock", lambda k: f"10:{k // 15000:02d}:{k / _FS % 60:06.3f}"),
)


def _damaged(data: bytes, rng: np.random.Generator) -> bytes:
    for _ in range(int(rng.integers(1, 5))):
        at, other = sorted(int(place) for place in rng.integers(0, len(data) + 1, 2))
        piece = _PIECES[int(rng.integers(len(_PIECES)))]
        data = (
            data[:at] + piece + data[at:],
            data[:at] + piece + data[at + len(piece) :],
            data[:at] + data[min(other, at + 40) :],
            data[:at] + data[at : at + 60] + data[at:],
            data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :],
            data[: at + 20],
            data[:at] + piece * 20 + data[at:],
            data.replace(b",", piece) if len(piece) < 10 else data,
        )[int(rng.integers(8))]
    return data


def _options(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "fs": (None, _FS, 360.0)[int(rng.integers(3))],
        "unit": (None, None, "uV", "count")[int(rng.integers(4))],
        "columns": (None, None, [0], ["II"])[int(rng.integers(4))],
        "uv_per_lsb": (None, None, 2.0)[int(rng.integers(3))],
        "time_column": (None, None, 0, "none")[int(rng.integers(4))],
    }


def _check_damaged_table(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = folder / ("ecg.csv", "ecg.txt", "ecg.tsv")[seed % 3]
    path.write_bytes(_damaged(_RandomTable(rng).data, rng))
    message = _message_of(path, _options(rng), seed)
    assert message is None or (message.strip().endswith(".") and "\n" not in message), (seed, message)
    assert len(message or "") < 2000


def _message_of(path: Path, options: dict[str, Any], seed: int) -> str | None:
    """The message if the table is refused; None if it can be read."""
    try:
        recording = open_recording(path, **options)
        for block in itertools.islice(recording.blocks(10.0), _MOST_BLOCKS):
            assert block.shape[0] == len(recording.leads) == len(recording.units)
            assert not np.isinf(block).any()
    except (RecordError, UsageError) as refused:
        return str(refused)
    except Exception as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    return None


def _check_damaged_tables(folder: Path, seeds: range) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        _check_damaged_table(folder, seed)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < _LARGEST_GROWTH_KB


def _check_valid_tables(folder: Path, seeds: range) -> None:
    for seed in seeds:
        table = _RandomTable(np.random.default_rng(seed))
        path = folder / "ecg.csv"
        path.write_bytes(table.data)
        recording = open_recording(path, fs=None if table.timed else _FS)
        assert recording.fs == _FS, seed
        np.testing.assert_array_equal(recording.read(), table.signal, err_msg=f"seed {seed}")


def test_three_hundred_valid_tables_are_read_as_written(tmp_path: Path) -> None:
    _check_valid_tables(tmp_path, range(300))


def test_three_hundred_damaged_tables_give_samples_or_one_sentence(tmp_path: Path) -> None:
    _check_damaged_tables(tmp_path, range(300))


@pytest.mark.slow
def test_ten_thousand_valid_and_damaged_tables(tmp_path: Path) -> None:
    _check_valid_tables(tmp_path, range(1000, 3000))
    _check_damaged_tables(tmp_path, range(1000, 11_000))

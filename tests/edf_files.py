"""Writes EDF and BDF files field by field, so that any field can be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass
class Signal:
    """One signal; `counts` are divided into data records."""

    label: str
    counts: NDArray[np.int64]
    rate: int  # samples per data record
    unit: str = "uV"
    physical: tuple[object, object] = (-3276.8, 3276.7)
    digital: tuple[object, object] = (-32768, 32767)


@dataclass
class Edf:
    """A file, and the header fields that are replaced by wrong values."""

    signals: Sequence[Signal]
    reserved: str = ""
    onsets: Sequence[float | str] | None = None  # onset of each data record, s; None: no annotations
    record_s: object = 1
    bdf: bool = False
    patient: str = "X X X X"
    fields: dict[str, object] = field(default_factory=dict)  # n_records, header_bytes, n_signals

    def write(self, path: Path) -> Path:
        """Write the file; the number of data records is that of the first signal."""
        width = 3 if self.bdf else 2
        records = len(self.signals[0].counts) // self.signals[0].rate if self.signals else len(self.onsets or ())
        kind = "BDF" if self.bdf else "EDF"
        rows = list(self.signals)
        if self.onsets is not None:
            empty = np.zeros(0, np.int64)
            rows.append(
                Signal(
                    f"{kind} Annotations", empty, 32, "", (-1, 1), (-8388608, 8388607) if self.bdf else (-32768, 32767)
                )
            )
        fixed = [
            (b"\xffBIOSEMI" if self.bdf else b"0       ", 8), (self.patient, 80),
            ("Startdate 05-MAR-2024 X X X", 80), ("05.03.24", 8), ("22.59.40", 8),
            (self.fields.get("header_bytes", 256 * (len(rows) + 1)), 8), (self.reserved, 44),
            (self.fields.get("n_records", records), 8), (self.record_s, 8),
            (self.fields.get("n_signals", len(rows)), 4),
        ]  # fmt: skip
        header = b"".join(cell(value, size) for value, size in fixed)
        for name, size in (("label", 16), ("", 80), ("unit", 8)):
            header += b"".join(cell(getattr(row, name) if name else "", size) for row in rows)
        for which, limits in ((0, "physical"), (1, "physical"), (0, "digital"), (1, "digital")):
            header += b"".join(cell(getattr(row, limits)[which], 8) for row in rows)
        header += b"".join(cell("", 80) for _ in rows) + b"".join(cell(row.rate, 8) for row in rows)
        header += b"".join(cell("", 32) for _ in rows)
        body = bytearray()
        for record in range(records):
            for row in self.signals:
                part = row.counts[record * row.rate : (record + 1) * row.rate].astype("<i4")
                body += part.view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
            if self.onsets is not None:
                stamp = f"+{self.onsets[record]}\x14\x14\x00".encode()
                body += stamp.ljust(32 * width, b"\0")
        path.write_bytes(header + bytes(body))
        return path


def cell(value: object, size: int) -> bytes:
    """A field of fixed width."""
    data = value if isinstance(value, bytes) else str(value).encode("latin-1")
    return data.ljust(size)[:size]


def counts(n: int, bits: int = 16, seed: int = 1) -> NDArray[np.int64]:
    """Random counts over the whole range, including both ends."""
    top = 1 << (bits - 1)
    drawn = np.random.default_rng(seed).integers(-top, top, n)
    drawn[:2] = -top, top - 1
    return drawn

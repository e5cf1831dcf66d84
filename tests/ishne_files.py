"""Writes ISHNE Holter files."""

from __future__ import annotations

import struct
from binascii import crc_hqx
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FS = 200


def write_ishne(
    path: Path, counts: NDArray[np.int16], *, magic: bytes = b"ISHNE1.0", after: bytes = b"", **fields: int
) -> Path:
    """An ISHNE file of `(leads, n)` counts with leads II, V1 and so on."""
    n_leads, n = counts.shape
    variable = b"some free text"
    given = {"size": n, "n_leads": n_leads, "rate": FS, "at": 522 + len(variable), "resolution": 2500} | fields
    fixed = struct.pack("<4ih", len(variable), given["size"], 522, given["at"], 1) + bytes(100)
    fixed += struct.pack("<2h3h3h3h3h", 2, 0, 6, 3, 1951, 5, 3, 2024, 5, 3, 2024, 22, 59, 40)
    fixed += struct.pack("<h", given["n_leads"]) + struct.pack("<12h", 6, 11, 6, *([-9] * 9))
    fixed += struct.pack("<12h", *([-9] * 12)) + struct.pack("<12h", *([given["resolution"]] * 12))
    fixed += struct.pack("<h", 0) + b"digital".ljust(40, b"\0") + struct.pack("<h", given["rate"]) + bytes(80 + 80 + 88)
    assert len(fixed) == 512
    crc = crc_hqx(fixed + variable, 0xFFFF) ^ given.get("damage", 0)
    path.write_bytes(magic + struct.pack("<H", crc) + fixed + variable + (after or counts.T.astype("<i2").tobytes()))
    return path


def drawn(n_leads: int = 3, n: int = 5000) -> NDArray[np.int16]:
    """`(leads, n)` over the whole range, including both ends."""
    counts = np.random.default_rng(2).integers(-32768, 32768, (n_leads, n)).astype(np.int16)
    counts[:, :2] = -32768, 32767
    return counts

"""Damaged headers, segments and annotation files are refused in one sentence or read correctly, within limits."""

from __future__ import annotations

import time
import tracemalloc
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.annotations import read_annotations
from ecgmoe_edge.records.formats.wfdb_record import open_record
from ecgmoe_edge.records.recording import voltage_leads
from ecgmoe_edge.records.wfdb_files.annotation_file import SYMBOLS

_HEADERS = (
    b"a 2 250 500 10:00:00 01/02/2020\na.dat 16 200/mV 16 0 -5 123 0 II\na.dat 16 0.2(7)/uV 16 0 3 -9 0 V1\n# 69 M\n",
    b"a 2 360/720(3.5) 600\na.dat 212 200(1024)/mV 11 1024 995 -22131 0 MLII\na.dat 212:3 200 11 1024 1011 2 0 V5\n",
    b"a 3 62.5 100\na.dat 16x4+24 200/mV 16 0 0 0 0 II\na.dat 16x2 1/mmHg 16 0 0 0 0 ABP\na.dat 16 1/\xb5V 16 0 0 0 0 V\n",  # noqa: E501
    b"a/4 2 250 700\nlayout 0\ns1 300\n~ 100\ns2 300\n# <age>: 60 <sex>: F\n",
    b"a 1 250\na.dat 8 200/mV 12 0 -7 0 0 I\n",
    b"a 2 250 400\r\na.dat 310 200 10 0 0 0 0 I\r\nb.dat 311 1e2 10 0 0 0 0 II\r\n",
)
_LAYOUT = b"layout 2 250 0\n~ 0 200/mV 16 0 0 0 0 II\n~ 0 200/mV 16 0 0 0 0 V\n"
_SEGMENTS = {
    "s1": b"s1 2 250 300\ns1.dat 16 200/mV 16 0 0 0 0 II\ns1.dat 16 200/mV 16 0 0 0 0 V\n",
    "s2": b"s2 1 250 300\ns2.dat 80 20/mV 16 0 0 0 0 V\n",
}
_ODD = (
    b"-1", b"0", b"1e308", b"-1e400", b"nan", b"inf", b"1,5", b"999999999999999999999", b"2147483648", b"x", b"~", b"/",
    b"\\", b"..", b"\x00", b"\xff\xfe", b"\xc2", b"(", b")", b"16x1048576", b"16:1099511627775", b"16+1099511627775",
    b"212", b"524", b"8", b"0x10", b"1/2", b"/3", b"#", b" " * 300, b"9" * 400, b"a", b"s1", b"layout", b"all", b"1e6",
    b"1e-9", b"\xe2\x80\xa8",
)  # fmt: skip
_FOREIGN = (b"%PDF-1.7\n", b"PK\x03\x04", b"0       X X X X", b"ISHNE1.0", b"\x89PNG\r\n", b"<?xml version='1.0'?>")


def _damaged(raw: bytes, rng: np.random.Generator) -> bytes:
    """A header with one to four faults, as from copying, editing and converting."""
    for _ in range(int(rng.integers(1, 4))):
        kind = int(rng.integers(8))
        lines = raw.split(b"\n")
        at = int(rng.integers(len(lines)))
        fields = lines[at].split(b" ")
        if kind <= 2:  # a field
            fields[int(rng.integers(len(fields)))] = _ODD[int(rng.integers(len(_ODD)))]
            lines[at] = b" ".join(fields)
        elif kind == 3:
            del lines[at]
        elif kind == 4:
            lines.insert(at, lines[int(rng.integers(len(lines)))])
        elif kind == 5 and raw:  # bytes
            changed = bytearray(raw)
            for place in rng.integers(len(raw), size=3):
                changed[place] = int(rng.integers(256))
            lines = [bytes(changed)]
        elif kind == 6:
            lines = [raw[: int(rng.integers(len(raw) + 1))]]
        else:
            lines = [_FOREIGN[int(rng.integers(len(_FOREIGN)))] + raw] if rng.random() < 0.1 else lines
        raw = b"\n".join(lines)
    return raw


def _annotations(rng: np.random.Generator) -> bytes:
    """Valid and random words of annot(5), sometimes with an end mark."""
    codes = list(SYMBOLS)
    raw = bytearray()
    if rng.random() < 0.2:
        rate = ["250", "500", "nan", "-1", "1e9", "", "1e-6"][int(rng.integers(7))]
        text = f"## time resolution: {rate}".encode()
        raw += (
            (22 << 10).to_bytes(2, "little")
            + (63 << 10 | len(text)).to_bytes(2, "little")
            + text
            + b"\0" * (len(text) % 2)
        )
    for _ in range(int(rng.integers(30))):
        if rng.random() < 0.99:
            raw += (codes[int(rng.integers(len(codes)))] << 10 | int(rng.integers(25))).to_bytes(2, "little")
        elif rng.random() < 0.5:
            raw += (59 << 10).to_bytes(2, "little") + rng.bytes(4)
        else:
            raw += rng.bytes(int(rng.integers(1, 9)))
    return bytes(raw) + b"\0" * (2 if rng.random() < 0.9 else int(rng.integers(4)))


def _try_one(folder: Path, seed: int) -> str:
    """Read a damaged record with its annotations; returns "read", or the message that refused it."""
    rng = np.random.default_rng(seed)
    header = _HEADERS[int(rng.integers(len(_HEADERS)))]
    damage_segment = b"layout" in header and rng.random() < 0.6
    segments = {**_SEGMENTS, "layout": _LAYOUT}
    if damage_segment:
        name = sorted(segments)[int(rng.integers(3))]
        segments[name] = _damaged(segments[name], rng)
    else:
        header = _damaged(header, rng)
    (folder / "a.hea").write_bytes(header)
    for name, text in segments.items():
        (folder / f"{name}.hea").write_bytes(text)
    (folder / "a.atr").write_bytes(_annotations(rng))
    try:
        record = open_record(folder / "a", truncated="read" if rng.random() < 0.5 else "error")
        leads = voltage_leads(record)
        first = next(record.blocks(0.5, leads))
        stop = min(record.n_samples, 700)
        part = record.read(stop // 2, stop, leads)
        assert part.shape == (len(leads), stop - stop // 2)
        assert not np.isinf(first).any()
        assert not np.isinf(part).any()
        annotated = read_annotations(record, beats_needed=False)
    except RecordError as refused:
        return str(refused)
    assert (np.diff(annotated.samples) >= 0).all()
    assert not len(annotated.samples) or 0 <= annotated.samples[0] <= annotated.samples[-1] < record.n_samples
    return "read"


def _try_all(folder: Path, seeds: Sequence[int]) -> list[str]:
    drawn = np.random.default_rng(0)
    for name in ("a", "b", "s1", "s2"):
        (folder / f"{name}.dat").write_bytes(drawn.bytes(3000))
    outcomes = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracemalloc.start()
        try:
            for seed in seeds:
                tracemalloc.reset_peak()
                began = time.process_time()
                try:
                    outcomes.append(_try_one(folder, seed))
                except Exception as error:
                    raise AssertionError(f"example {seed}: {error!r}") from error
                assert tracemalloc.get_traced_memory()[1] < 100e6, f"example {seed}"
                assert time.process_time() - began < 2.0, f"example {seed}"
        finally:
            tracemalloc.stop()
    return outcomes


def _are_sentences(outcomes: Sequence[str]) -> bool:
    return all("Traceback" not in one and len(one) < 1500 for one in outcomes)


def test_damaged_records_are_read_or_refused_with_a_sentence(tmp_path: Path) -> None:
    outcomes = _try_all(tmp_path, range(300))
    assert _are_sentences(outcomes)
    assert 20 < outcomes.count("read") < 250  # some faults are harmless, most are not


@pytest.mark.slow
def test_ten_thousand_damaged_records_are_read_or_refused_with_a_sentence(tmp_path: Path) -> None:
    outcomes = _try_all(tmp_path, range(1000, 11_000))
    assert _are_sentences(outcomes)
    assert len({outcome[:40] for outcome in outcomes}) > 50

"""Annotation files in MIT format are read as wfdb reads them; other files are refused."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.annotations import BeatAnnotations, read_annotations
from ecgmoe_edge.records.formats.wfdb_record import open_record
from ecgmoe_edge.records.wfdb_files.annotation_file import SYMBOLS, read_annotation_file

CODES = {symbol: code for code, symbol in SYMBOLS.items()}
END = b"\x00\x00"


def word(code: int, low: int) -> bytes:
    """One 16-bit word of annot(5)."""
    return struct.pack("<H", code << 10 | low)


def skip(ticks: int) -> bytes:
    """A SKIP of any size, upper half first."""
    value = ticks & 0xFFFFFFFF
    return word(59, 0) + struct.pack("<HH", value >> 16, value & 0xFFFF)


def note(text: str | bytes) -> bytes:
    """A note of the preceding annotation."""
    raw = text.encode() if isinstance(text, str) else text
    return word(63, len(raw)) + raw + b"\0" * (len(raw) % 2)


def marks(steps: Iterable[tuple[int, str]]) -> bytes:
    """Annotations, each with the ticks since the preceding one."""
    return b"".join((skip(step) if step > 1023 else b"") + word(CODES[symbol], step % 1024 if step <= 1023 else 0)
                    for step, symbol in steps)  # fmt: skip


@pytest.fixture
def read(write_record: Callable[..., Path]) -> Callable[..., BeatAnnotations]:
    """`read(bytes)`: the annotations of a record of 20 s at 250 Hz."""
    path = write_record("a", np.zeros((1, 5000), dtype=np.int16), leads=("II",))

    def _read(raw: bytes, *, beats_needed: bool = True) -> BeatAnnotations:
        path.with_suffix(".atr").write_bytes(raw)
        return read_annotations(open_record(path), beats_needed=beats_needed)

    return _read


Read = Callable[..., BeatAnnotations]


def test_the_codes_are_those_of_the_wfdb_library() -> None:
    wfdb = pytest.importorskip("wfdb", reason="needs the records extra")
    theirs = {one.label_store: one.symbol for one in wfdb.io.annotation.ann_labels}
    assert {code: symbol for code, symbol in theirs.items() if symbol != " "} == dict(SYMBOLS)


def test_a_random_file_is_read_as_wfdb_reads_it(tmp_path: Path) -> None:
    wfdb = pytest.importorskip("wfdb", reason="needs the records extra")
    rng = np.random.default_rng(5)
    symbols = rng.choice(list(CODES), size=3000)
    samples = np.cumsum(rng.choice([0, 1, 200, 1023, 1024, 5000, 70_000], size=3000))
    notes = [str(text) for text in rng.choice(["", "(AFIB", "(N", "x"], size=3000)]
    wfdb.wrann("a", "atr", samples, symbol=symbols.tolist(), aux_note=notes, fs=333.25, write_dir=str(tmp_path))
    theirs = wfdb.rdann(str(tmp_path / "a"), "atr")
    ours = read_annotation_file(tmp_path / "a.atr")
    assert ours.rate == theirs.fs == 333.25
    first = len(ours.ticks) - 3000  # annotations that describe the file
    assert ours.ticks[first:].tolist() == theirs.sample.tolist() == samples.tolist()
    assert [ours.symbol(code) for code in ours.codes[first:].tolist()] == theirs.symbol
    assert [ours.notes.get(at + first, "") for at in range(3000)] == notes


def test_every_real_annotation_file_is_read_as_wfdb_reads_it(data_dir: Path) -> None:
    wfdb = pytest.importorskip("wfdb", reason="needs the records extra")
    files = [file for folder in ("mitdb", "svdb", "nstdb") for file in sorted((data_dir / folder).glob("*.atr"))[:12]]
    folder = data_dir / "formats" / "wfdb"
    files += [
        file for kind in ("atr", "qrs", "anI", "wabp", "wqrs", "gqrs*", "sqrs") for file in folder.glob(f"*.{kind}")
    ]
    assert len(files) > 20
    for file in files:
        theirs = wfdb.rdann(str(file.with_suffix("")), file.suffix[1:])
        ours = read_annotation_file(file)
        n = len(theirs.sample)  # without annotations that describe the file
        first = len(ours.ticks) - n
        np.testing.assert_array_equal(ours.ticks[first:], theirs.sample, err_msg=str(file))
        for code, symbol in zip(ours.codes[first:].tolist(), theirs.symbol, strict=True):
            assert ours.symbol(code) == (symbol.strip() if isinstance(symbol, str) else f"[{code}]"), file
        assert [ours.notes.get(at + first, "") for at in range(n)] == [text.strip("\0 ") for text in theirs.aux_note]


@pytest.mark.parametrize(("stated", "ticks_a_second"), [("250", 250), ("500", 500), ("1000.0", 1000), ("7.5", 7.5)])
def test_ticks_of_a_stated_rate_are_converted_to_samples(read: Read, stated: str, ticks_a_second: float) -> None:
    raw = word(22, 0) + note(f"## time resolution: {stated}") + skip(round(4 * ticks_a_second)) + word(1, 0) + END
    assert read(raw).samples.tolist() == [1000]


def test_ticks_are_frames_if_a_frame_has_several_samples(tmp_path: Path) -> None:
    frames = np.zeros((20, 256), dtype="<i2")
    (tmp_path / "a.dat").write_bytes(frames.tobytes())
    (tmp_path / "a.hea").write_text("a 1 1 20\na.dat 16x256 200/mV 16 0 0 0 0 ECG\n")
    record = open_record(tmp_path / "a")
    (tmp_path / "a.atr").write_bytes(marks([(3, "N"), (4, "V")]) + END)
    assert read_annotations(record).samples.tolist() == [3 * 256, 7 * 256]
    stated = word(22, 0) + note("## time resolution: 256")
    (tmp_path / "a.atr").write_bytes(stated + marks([(300, "N"), (400, "V")]) + END)
    assert read_annotations(record).samples.tolist() == [300, 700]


def test_undefined_labels_are_counted_and_reported(read: Read) -> None:
    defining = ["## annotation type definitions", "42 P1 a label of its own", "## end of definitions"]
    head = b"".join(word(22, 0) + note(line) for line in defining)
    raw = head + marks([(100, "N"), (100, "|")]) + word(42, 10) + word(42, 10) + word(17, 10) + word(0, 10) + END
    annotated = read(raw)
    assert annotated.samples.tolist() == [100]
    assert annotated.unknown == {"[17]": 1, "P1": 2}
    assert [remark.kind for remark in annotated.remarks] == ["label"]
    assert "'P1' (2)" in annotated.remarks[0].text
    assert read(marks([(100, "N")]) + END).remarks == ()


def test_notes_of_any_length_and_encoding_are_read(read: Read) -> None:
    raw = word(28, 10) + note("(AFIB\0") + word(28, 100) + note("(VT Müller".encode("latin-1")) + word(28, 9) + note("")
    rhythms = read(raw + END, beats_needed=False).rhythms
    assert [(rhythm.label, rhythm.start, rhythm.end) for rhythm in rhythms] == [
        ("AFIB", 10, 110), ("VT Müller", 110, 5000),
    ]  # fmt: skip


def test_annotations_just_after_the_end_are_ignored_with_a_remark(read: Read) -> None:
    annotated = read(marks([(100, "N"), (4899, "N"), (1, "N"), (200, "N")]) + END)
    assert annotated.samples.tolist() == [100, 4999]
    assert [remark.kind for remark in annotated.remarks] == ["length"]
    assert "2 annotations after the end" in annotated.remarks[0].text


def test_annotations_after_the_end_of_a_truncated_record_are_ignored(write_record: Callable[..., Path]) -> None:
    path = write_record("a", np.zeros((1, 1000), dtype=np.int16), leads=("II",), stated=5000)
    path.with_suffix(".atr").write_bytes(marks([(100, "N"), (4000, "N")]) + END)
    annotated = read_annotations(open_record(path, truncated="read"))
    assert (annotated.samples.tolist(), [remark.kind for remark in annotated.remarks]) == ([100], ["length"])


_RANDOM = np.random.default_rng(1).bytes(4000)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b"time,label\n0.1,N\n0.9,N\n", "is text"),
        (b"  0:00.050  18 + 0 0 0 (N\r\n", "is text"),
        (_RANDOM, "is not a WFDB annotation file"),
        (_RANDOM + END, "is not a WFDB annotation file"),
        (b"%PDF-1.7\n\xe2\xe3\xcf\xd3" + _RANDOM, "is not a WFDB annotation file|truncated|backwards"),
        (marks([(100, "N")] * 9), "truncated"),
        (marks([(100, "N")] * 9) + b"\x00", "truncated"),
        (word(1, 5) + word(63, 800) + b"ab", "truncated"),
        (word(1, 5) + word(59, 0) + b"\x01", "truncated"),
        (word(1, 5) + word(59, 0), "truncated"),
        (marks([(100, "N")]) + END + b"rest", "4 bytes follow the mark"),
        (marks([(100, "N")]) + word(55, 1) + END, "contains the code 55"),
        (marks([(4900, "N")]) + skip(-300) + word(1, 0) + END, "go backwards, from 4900 to 4600 ticks.*sortann"),
        (skip(-300) + word(1, 0) + END, "a time before the start"),
        (marks([(100, "N"), (9000, "N")]) + END, r"an annotation at 36\.4 s, but a is 20 s long"),
        (b"".join(skip(2**31 - 1) for _ in range(10)) + word(1, 0) + END, "an annotation at .* s, but a is 20 s long"),
        (word(22, 0) + note("## time resolution: 0") + marks([(1, "N")]) + END, "time resolution of '0'"),
        (word(22, 0) + note("## time resolution: nan") + marks([(1, "N")]) + END, "time resolution of 'nan'"),
        (word(22, 0) + note("## time resolution: 1e-300") + marks([(1, "N")]) + END, "time resolution of '1e-300'"),
        (marks([(100, "+")]) + END, "no beat annotation"),
        (END, "no beat annotation"),
    ],
)
def test_a_file_that_is_not_an_annotation_file_of_the_record_is_refused(read: Read, raw: bytes, message: str) -> None:
    with pytest.raises(RecordError, match=message) as refused:
        read(raw)
    assert "a.atr" in str(refused.value)


def test_zero_bytes_after_the_end_are_ignored(read: Read) -> None:
    assert read(marks([(100, "N")]) + END + bytes(511)).samples.tolist() == [100]


def test_a_file_that_is_too_large_is_refused(read: Read, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="over 500000 notes"):
        read((word(1, 1) + note("xy")) * 600_000 + END)
    with pytest.raises(RecordError, match="over 8 MiB"):
        read(bytes(8 * 2**20 + 1))


_LARGEST = """
import resource, sys
from pathlib import Path
import numpy as np
from ecgmoe_edge.records.annotations import read_annotations
from ecgmoe_edge.records.recording import ArrayRecording
path, n = Path(sys.argv[1]), 4 * 2**20
record = ArrayRecording(path, 250.0, ("II",), np.broadcast_to(np.zeros((1, 1)), (1, n)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert len(read_annotations(record).samples) == n - 1
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_the_largest_file_takes_less_than_300_mb(tmp_path: Path) -> None:
    (tmp_path / "a.atr").write_bytes(word(1, 1) * (4 * 2**20 - 1) + END)
    command = [sys.executable, "-c", _LARGEST, str(tmp_path / "a.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) < 300

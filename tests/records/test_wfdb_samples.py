"""Samples of every signal format, against encoders written from signal(5) and against the wfdb package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.formats.wfdb_record import open_record
from ecgmoe_edge.records.wfdb_files.header import named_file, read_header
from ecgmoe_edge.records.wfdb_files.samples import SignalFile

Counts = NDArray[np.int64]


def _by_bits(counts: Counts, bits: int, starts: Sequence[int], word: int) -> bytes:
    """Pack groups of samples into words of `bits` bits; sample `k` of a group starts at bit `starts[k]`."""
    out = bytearray()
    values = counts.tolist()
    for at in range(0, len(values), len(starts)):
        group = sum((value & (1 << bits) - 1) << start for value, start in zip(values[at:], starts, strict=False))
        out += group.to_bytes(word // 8, "little")
    return bytes(out)


def _decode_310(counts: Counts) -> bytes:
    out = bytearray()
    values = [value & 0x3FF for value in [*counts.tolist(), *[0] * (-len(counts) % 3)]]
    for a, b, c in zip(values[::3], values[1::3], values[2::3], strict=True):
        out += (a << 1 | (c & 0x1F) << 11).to_bytes(2, "little") + (b << 1 | (c >> 5) << 11).to_bytes(2, "little")
    return bytes(out)


# signal(5): bits of a sample, and how it is written.
ENCODERS: dict[int, tuple[int, Callable[[Counts], bytes]]] = {
    16: (16, lambda counts: counts.astype("<i2").tobytes()),
    24: (24, lambda counts: _by_bits(counts, 24, [0], 24)),
    32: (32, lambda counts: counts.astype("<i4").tobytes()),
    61: (16, lambda counts: counts.astype(">i2").tobytes()),
    80: (8, lambda counts: (counts + 128).astype(np.uint8).tobytes()),
    160: (16, lambda counts: (counts + 32768).astype("<u2").tobytes()),
    212: (12, lambda counts: b"".join(
        bytes([a & 0xFF, (a >> 8 & 0xF) | (b >> 8 & 0xF) << 4, b & 0xFF])
        for a, b in zip([*counts.tolist(), 0][0 : len(counts) + len(counts) % 2 : 2],
                        [*counts.tolist(), 0][1 : len(counts) + len(counts) % 2 : 2], strict=True)
    )),
    310: (10, _decode_310),
    311: (10, lambda counts: _by_bits(counts, 10, [0, 10, 20], 32)),
}  # fmt: skip


def _drawn(bits: int, frames: int, frame: int, seed: int) -> Counts:
    """Counts of the whole range except the lowest, which is an invalid sample."""
    rng = np.random.default_rng(seed)
    top = 2 ** (bits - 1) - 1
    counts = rng.integers(-top, top, size=(frames, frame), endpoint=True)
    counts[0, 0], counts[-1, -1] = -top, top
    return counts


@pytest.mark.parametrize("fmt", ENCODERS)
@pytest.mark.parametrize(("frames", "frame"), [(101, 1), (100, 2), (101, 3), (1, 1), (1, 2), (59, 7)])
def test_any_range_of_any_format_is_decoded_as_encoded(tmp_path: Path, fmt: int, frames: int, frame: int) -> None:
    bits, encode = ENCODERS[fmt]
    counts = _drawn(bits, frames, frame, fmt + frames)
    path = tmp_path / "a.dat"
    path.write_bytes(b"\x55" * 5 + encode(counts.reshape(-1)))
    file = SignalFile(path, fmt, 5, (1,) * frame, (0,) * frame)
    assert file.n_frames() - frames in (0, 1, 2)  # padding of the last group may look like a frame
    np.testing.assert_array_equal(file.frames(0, frames), counts)
    for start in range(0, frames, 13):
        for stop in (start, start + 1, start + 2, frames):
            if stop <= frames:
                np.testing.assert_array_equal(file.frames(start, stop), counts[start:stop])


@pytest.mark.parametrize(("fmt", "n_bytes"), [
    (212, {1: 2, 2: 3, 3: 5, 15_001: 22_502}), (310, {1: 2, 2: 4, 1018: 1358}),
    (311, {1: 2, 2: 3, 3: 4, 1019: 1359}),
])  # fmt: skip
def test_the_last_group_may_be_incomplete(tmp_path: Path, fmt: int, n_bytes: dict[int, int]) -> None:
    bits, encode = ENCODERS[fmt]
    for n, size in n_bytes.items():
        counts = _drawn(bits, n, 1, n)
        path = tmp_path / f"{n}.dat"
        path.write_bytes(encode(counts.reshape(-1))[:size])
        file = SignalFile(path, fmt, 0, (1,), (0,))
        assert file.n_frames() >= n
        np.testing.assert_array_equal(file.frames(0, n), counts)
        path.write_bytes(encode(counts.reshape(-1))[: size - 1])
        assert file.n_frames() == n - 1


def test_differences_are_summed_from_any_frame_in_any_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    steps = rng.integers(-128, 127, size=(1000, 3), endpoint=True)
    path = tmp_path / "a.dat"
    path.write_bytes(steps.astype(np.int8).tobytes())
    file = SignalFile(path, 8, 0, (2, 1), (-2047, 100))
    fast = -2047 + np.cumsum(steps[:, :2]).reshape(-1, 2)
    slow = 100 + np.cumsum(steps[:, 2:]).reshape(-1, 1)
    whole = np.hstack([fast, slow])
    for start, stop in ((0, 1000), (0, 10), (10, 20), (500, 501), (501, 700), (3, 5), (999, 1000), (20, 20)):
        np.testing.assert_array_equal(file.frames(start, stop), whole[start:stop])


@pytest.mark.parametrize("fmt", [16, 24, 32, 80, 212, 508, 516, 524])  # formats that wfdb writes
def test_a_record_written_by_wfdb_is_read_exactly(tmp_path: Path, fmt: int) -> None:
    wfdb = pytest.importorskip("wfdb", reason="needs the records extra")
    bits = fmt - 500 if fmt > 500 else ENCODERS[fmt][0]
    counts = _drawn(bits, 1003, 2, fmt)
    counts[100:110, 1] = -(2 ** (bits - 1))
    wfdb.wrsamp(
        "a", fs=360, units=["mV", "uV"], sig_name=["I", "II"], d_signal=counts, fmt=[str(fmt)] * 2,
        adc_gain=[123.4, 0.5], baseline=[-3, 17], write_dir=str(tmp_path),
    )  # fmt: skip
    record = open_record(tmp_path / "a")
    read = record.read()
    theirs = wfdb.rdrecord(str(tmp_path / "a")).p_signal.T * [[1.0], [1e-3]]
    np.testing.assert_array_equal(read, theirs)
    np.testing.assert_array_equal(np.concatenate(list(record.blocks(0.37)), axis=1), read)
    assert np.flatnonzero(np.isnan(read[1])).tolist() == list(range(100, 110))


def _flac(path: Path, counts: Counts, bits: int) -> None:
    soundfile = pytest.importorskip("soundfile", reason="needs the records extra")
    shifted = (counts << (32 - bits)).astype(np.int32)
    soundfile.write(path, shifted, 500, subtype={8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}[bits], format="FLAC")


def test_a_flac_file_with_several_samples_per_frame_and_without_length_is_read(tmp_path: Path) -> None:
    counts = _drawn(16, 1200, 2, 1)
    _flac(tmp_path / "a.dat", counts, 16)
    line = "a.dat 516x4 200/mV 16 0 0 0 0"
    (tmp_path / "a.hea").write_text(f"a 2 62.5\n{line} I\n{line} II\n")
    record = open_record(tmp_path / "a")
    assert (record.fs, record.n_samples) == (250.0, 1200)
    np.testing.assert_array_equal(record.read(), counts.T / 200.0)
    np.testing.assert_array_equal(record.read(777, 801), counts.T[:, 777:801] / 200.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[: len(raw) // 2], r"a\.dat (cannot be decoded|ends before frame 1200)"),
        (lambda raw: b"RIFF" + raw[4:], r"a\.dat cannot be decoded"),
        (lambda raw: b"", r"a\.dat cannot be decoded"),
    ],
)
def test_a_truncated_or_invalid_flac_file_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    _flac(tmp_path / "a.dat", _drawn(16, 1200, 1, 1), 16)
    (tmp_path / "a.hea").write_text("a 1 250 1200\na.dat 516 200/mV 16 0 0 0 0 I\n")
    raw = (tmp_path / "a.dat").read_bytes()
    (tmp_path / "a.dat").write_bytes(change(raw))
    with pytest.raises(RecordError, match=message):
        open_record(tmp_path / "a").read()


def test_a_flac_file_of_other_channels_or_more_bits_is_refused(tmp_path: Path) -> None:
    _flac(tmp_path / "a.dat", _drawn(16, 100, 2, 1), 16)
    for line, message in (("516", "FLAC with 1 channels and 16 bits"), ("508", "FLAC with 1 channels and 8 bits")):
        (tmp_path / "a.hea").write_text(f"a 1 250 100\na.dat {line} 200/mV 16 0 0 0 0 I\n")
        with pytest.raises(RecordError, match=rf"a\.dat is FLAC with 2 channels.*{message}"):
            open_record(tmp_path / "a")


def test_a_file_that_shrinks_after_opening_is_reported(write_record: Callable[..., Path]) -> None:
    path = write_record("a", np.zeros((1, 1000), dtype=np.int16), leads=("I",))
    record = open_record(path)
    path.with_suffix(".dat").write_bytes(bytes(100))
    with pytest.raises(RecordError, match=r"a, samples 0 to 1000: a\.dat ends before frame 1000"):
        record.read()


@pytest.fixture(scope="module")
def wfdb_files(data_dir: Path) -> Path:
    folder = data_dir / "formats" / "wfdb"
    if not folder.is_dir():
        pytest.skip(f"needs the sample records of wfdb-python: {folder} is not there")
    return folder


def test_every_real_file_gives_the_checksums_that_its_header_states(wfdb_files: Path) -> None:
    seen: dict[int, int] = {}
    for path in sorted(wfdb_files.rglob("*.hea")):
        header = read_header(path)
        of_file: dict[str, list[int]] = {}
        for position, signal in enumerate(header.signals):
            of_file.setdefault(signal.file, []).append(position)
        for name, positions in of_file.items():
            signals = [header.signals[position] for position in positions]
            if signals[0].fmt == 0 or not named_file(path, name).is_file():
                continue
            per_frame = tuple(signal.per_frame for signal in signals)
            initial = tuple(signal.initial for signal in signals)
            file = SignalFile(named_file(path, name), signals[0].fmt, signals[0].offset, per_frame, initial)
            counts = file.frames(0, header.length or file.n_frames())
            for at, signal in enumerate(signals):
                total = int(counts[:, file.columns(at)].sum())
                assert (total - (signal.checksum or 0)) % 65536 == 0, (path.name, signal)
                seen[signal.fmt] = seen.get(signal.fmt, 0) + 1
    assert set(seen) == {8, 16, 24, 32, 61, 80, 160, 212, 310, 311, 508, 516, 524}


@pytest.mark.parametrize(
    "name",
    [
        "100_3chan", "3000003_0003", "310derive", "310derive_2", "310derive_3", "311derive", "311derive_2", "a103l",
        "flacformats", "mixedsignals", "test01_00s", "test01_00s_skew", "v102s", "multi-segment/fixed1/v102s",
        "multi-segment/s25047/s25047-2704-05-04-10-44", "multi-segment/041s/041s", "test_generator_2",
    ],
)  # fmt: skip
def test_real_records_are_read_as_wfdb_reads_them(wfdb_files: Path, name: str) -> None:
    wfdb = pytest.importorskip("wfdb", reason="needs the records extra")
    record = open_record(wfdb_files / name)
    theirs = wfdb.rdrecord(str(wfdb_files / name), smooth_frames=False)
    if isinstance(theirs, wfdb.MultiRecord):
        theirs = theirs.multi_to_single(physical=True, expanded=True)
    scale = {"mV": 1.0, "uV": 1e-3}
    compared = 0
    for lead, unit in zip(record.leads, record.units, strict=True):
        position = theirs.sig_name.index(lead)
        if unit in scale and theirs.samps_per_frame[position] == record.per_frame:
            np.testing.assert_array_equal(record.read(leads=[lead])[0], theirs.e_p_signal[position] * scale[unit])
            compared += 1
    assert compared

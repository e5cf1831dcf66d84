"""The encoder in C against the one in Python: the same bytes, also on a Cortex-M, and exact losses."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.firmware_bridge import EndOfStream, LeadOffChange, SampleLoss, Samples, StreamInfo, frame
from ecgmoe_edge.firmware_bridge.decoder import EcgmoeDecoder
from ecgmoe_edge.firmware_bridge.items import WireItem

FIRMWARE = Path(__file__).parents[2] / "firmware_bridge" / "firmware"
BENCH = Path(__file__).parent / "firmware"
SOURCE = FIRMWARE / "ecgmoe_frame.c"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{FIRMWARE}")
MEASURED = 20_000  # samples of the simulated recording


def compiled(compiler: str, *arguments: str | Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}: .ci/debian-packages.sh installs it")
    done = subprocess.run([compiler, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def output_of(*command: str | Path) -> bytes:
    return subprocess.run(command, capture_output=True, timeout=60, check=True).stdout


class Lead(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("picovolts_per_step", ctypes.c_uint32))


class Stream(ctypes.Structure):
    _fields_ = (
        ("rate_numerator", ctypes.c_uint32),
        ("rate_denominator", ctypes.c_uint32),
        ("leads", ctypes.POINTER(Lead)),
        ("n_leads", ctypes.c_uint8),
        ("device", ctypes.c_char_p),
        ("run", ctypes.c_uint16),
        ("counter", ctypes.c_uint16),
        ("index", ctypes.c_uint32),
        ("overflow", ctypes.c_uint32),
    )


class CEncoder:
    """The methods of `frame.FrameEncoder`, calling the encoder in C."""

    def __init__(self, library: ctypes.CDLL, info: StreamInfo, run: int, index: int = 0) -> None:
        names = [lead.encode() for lead in info.leads]
        scales = [int(scale) for scale in info.picovolts_per_lsb]
        leads = (Lead * len(names))(*(Lead(*lead) for lead in zip(names, scales, strict=True)))
        self.stream = Stream(
            info.rate.numerator, info.rate.denominator, leads, len(names), info.device.encode(), run, 0, index, 0
        )
        self.rate = info.rate
        self.capacity = 2000
        self._library = library

    def _call(self, name: str, *arguments: object) -> bytes:
        out = (ctypes.c_uint8 * 2000)()
        clock = ctypes.c_uint32(int(self.stream.index * 1_000_000 / self.rate) % 2**32)
        function = getattr(self._library, name)
        function.restype = ctypes.c_size_t
        n = function(ctypes.byref(self.stream), clock, *arguments, out, ctypes.c_size_t(self.capacity))
        return bytes(out[:n])

    def info_frame(self) -> bytes:
        return self._call("ecgmoe_info")

    def samples_frame(self, codes: np.ndarray[tuple[int, int], np.dtype[np.int32]], lead_off: int) -> bytes:
        flat = np.ascontiguousarray(codes.T, dtype=np.int32)
        pointer = flat.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        return self._call("ecgmoe_samples", ctypes.c_uint16(lead_off), pointer, ctypes.c_uint8(codes.shape[1]))

    def end_frame(self) -> bytes:
        return self._call("ecgmoe_end")

    def overflowed(self, n: int) -> None:
        self._library.ecgmoe_dropped(ctypes.byref(self.stream), ctypes.c_uint32(n))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    target = tmp_path_factory.mktemp("c") / "ecgmoe_frame.so"
    compiled("gcc", *STRICT, "-O2", "-shared", "-fPIC", SOURCE, "-o", target)
    return ctypes.CDLL(str(target))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes that the simulated recording sends on this machine."""
    program = tmp_path_factory.mktemp("c") / "session"
    compiled("gcc", *STRICT, "-O2", BENCH / "on_host.c", BENCH / "session.c", SOURCE, "-o", program)
    return output_of(program)


def decoded(data: bytes, cut: Callable[[bytes], list[bytes]] = lambda data: [data]) -> tuple[list[WireItem], int]:
    """The items, and the number of dropped samples that the program prints."""
    stream, _, refused = data.rpartition(b"refused")
    decoder = EcgmoeDecoder()
    items = [item for piece in cut(stream) for item in decoder.feed(piece)]
    assert decoder.counts.bad_frames == decoder.counts.junk_bytes == decoder.counts.duplicate_frames == 0
    return items, int(refused)


def test_c_and_python_encode_thousands_of_random_frames_to_the_same_bytes(library: ctypes.CDLL) -> None:
    rng = np.random.default_rng(6)
    frames = 0
    for run in range(60):
        leads = tuple(f"lead {i}" for i in range(rng.integers(1, 17)))
        scales = tuple(int(scale) for scale in rng.integers(1, 2**32, len(leads)))
        rate = Fraction(int(rng.integers(100, 2000)), int(rng.integers(1, 5)))
        info = StreamInfo(rate, leads, scales, "bench"[: rng.integers(0, 6)])
        index = int(rng.integers(0, 2**32))
        python, c = frame.FrameEncoder(info, run * 1000, index), CEncoder(library, info, run * 1000, index)
        assert c.info_frame() == python.info_frame()
        for _ in range(50):
            n = int(rng.integers(1, python.max_samples + 1))
            size = int(
                rng.choice([1, 200, 2**23])
            )  # small values contain zero bytes; without zeros, pieces have their greatest length
            codes = rng.integers(-size, size, (len(leads), n)).astype(np.int32)
            off = int(rng.integers(0, 2 ** len(leads)))
            flags = [bool(off >> lead & 1) for lead in range(len(leads))]
            assert c.samples_frame(codes, off) == python.samples_frame(codes, flags)
            if rng.random() < 0.1:
                lost = int(rng.integers(1, 100_000))
                python.overflowed(lost)
                c.overflowed(lost)
            c.stream.index %= 2**32
            python.index %= 2**32
            frames += 1
        assert c.end_frame() == python.end_frame()
    assert frames == 3000


def test_c_and_python_stuff_pieces_of_any_length_alike(library: ctypes.CDLL) -> None:
    info = StreamInfo(Fraction(250), ("II",), (1,), "")
    python, c = frame.FrameEncoder(info, 0x0101, 0x01010101), CEncoder(library, info, 0x0101, 0x01010101)
    for n in range(60, 110):
        codes = np.full((1, n), 0x010101, dtype=np.int32)
        codes[0, -1] = 0
        assert c.samples_frame(codes, 0x0101) == python._frame(
            frame.SAMPLES,
            frame.SAMPLES_HEAD.pack(0x0101, 1, n) + codes.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes(),
        )
        python.index += n


def test_c_decodes_the_frames_of_python_and_rejects_damaged_ones(library: ctypes.CDLL) -> None:
    library.ecgmoe_open.restype = ctypes.c_size_t
    rng = np.random.default_rng(7)
    info = StreamInfo(Fraction(500), ("I", "II"), (1000, 1000), "bench")
    encoder = frame.FrameEncoder(info, 3)

    def opened(stuffed: bytes) -> bytes:
        buffer = ctypes.create_string_buffer(stuffed, len(stuffed))
        n = library.ecgmoe_open(buffer, ctypes.c_size_t(len(stuffed)))
        return buffer.raw[:n]

    for _ in range(500):
        size = int(rng.choice([1, 200, 2**23]))
        codes = rng.integers(-size, size, (2, rng.integers(1, 160))).astype(np.int32)
        stuffed = encoder.samples_frame(codes)[:-1]
        assert opened(stuffed) == frame.cobs_decode(stuffed)[:-4]
        damaged = bytearray(stuffed)
        damaged[rng.integers(len(stuffed))] ^= 1 << int(rng.integers(8))
        assert opened(bytes(damaged)) == b""
        assert opened(stuffed[: int(rng.integers(len(stuffed)))]) == b""
    for _ in range(2000):
        assert opened(rng.bytes(int(rng.integers(1, 100)))) == b""


def test_a_frame_that_does_not_fit_is_rejected_and_changes_no_counter(library: ctypes.CDLL) -> None:
    info = StreamInfo(Fraction(250), ("II", "V1"), (1, 1), "bench")
    encoder = CEncoder(library, info, 1)
    codes = np.zeros((2, 20), dtype=np.int32)
    whole = len(CEncoder(library, info, 1).samples_frame(codes, 0))
    for encoder.capacity in range(whole):
        assert encoder.samples_frame(codes, 0) == b""
    encoder.capacity = whole
    assert len(encoder.samples_frame(codes, 0)) == whole
    encoder.capacity = 2000
    assert (encoder.stream.counter, encoder.stream.index) == (1, 20)
    assert encoder.samples_frame(np.zeros((2, 200), dtype=np.int32), 0) == b"", "more than 1,024 bytes"
    assert encoder.samples_frame(np.zeros((2, 0), dtype=np.int32), 0) == b""
    encoder.stream.device = b"a name that is longer than a device may have"
    assert encoder.info_frame() == b""


def test_values_beyond_full_scale_are_clipped_and_missing_values_stay_missing(library: ctypes.CDLL) -> None:
    encoder = CEncoder(library, StreamInfo(Fraction(250), ("II",), (1,), ""), 1)
    codes = np.array([[2**31 - 1, -(2**31), 8388608, -8388609, -8388608]], dtype=np.int32)
    _, payload = frame.open_frame(encoder.samples_frame(codes, 0)[:-1])
    assert frame.parse_samples(payload)[1].tolist() == [[8388607, -8388607, 8388607, -8388607, -8388608]]


def test_a_full_ring_buffer_gives_an_exact_gap_at_the_missing_samples(recording: bytes) -> None:
    items, refused = decoded(recording)
    losses = [item for item in items if isinstance(item, SampleLoss)]
    assert refused > 500
    assert {lost.reason for lost in losses} == {"device overflow"}
    assert sum(lost.samples or 0 for lost in losses) == refused
    assert items[-1] == EndOfStream(MEASURED)
    at = 0
    for item in items:  # lead II is a ramp, so each value identifies its sample
        if isinstance(item, SampleLoss):
            at += item.samples or 0
        elif isinstance(item, Samples):
            ramp = np.rint(item.values[0] / (48081 * 1e-9)) + 10_000
            np.testing.assert_array_equal(ramp, np.arange(at, at + ramp.size))
            assert item.first_index == at
            assert item.device_time_s == pytest.approx(at * 0.004)
            at += ramp.size
    assert at == MEASURED


def test_lead_off_is_reported_at_its_sample_and_missing_values_are_nan(recording: bytes) -> None:
    items, _ = decoded(recording)
    changes = [item.leads for item in items if isinstance(item, LeadOffChange)]
    assert len(changes) > 30
    assert changes == [("V1",), ()] * (len(changes) // 2) + [("V1",)] * (len(changes) % 2)
    missing = sum(int(np.isnan(item.values[1]).sum()) for item in items if isinstance(item, Samples))
    assert 200 < missing < 600


def test_a_cortex_m3_sends_the_same_bytes(recording: bytes, tmp_path: Path) -> None:
    program = tmp_path / "session.elf"
    target = ("-mcpu=cortex-m3", "-mthumb", "-ffreestanding", "-nostdlib", "-T", BENCH / "cortex_m.ld")
    sources = (BENCH / "on_cortex_m.c", BENCH / "session.c", SOURCE, "-lgcc")
    compiled("arm-none-eabi-gcc", *STRICT, "-Os", *target, *sources, "-o", program)
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("needs qemu-system-arm: .ci/debian-packages.sh installs it")
    machine = ("qemu-system-arm", "-M", "mps2-an385", "-display", "none", "-serial", "none", "-monitor", "none")
    assert output_of(*machine, "-semihosting-config", "enable=on,target=native", "-kernel", program) == recording


@pytest.mark.parametrize("cpu", ["cortex-m0", "cortex-m4", "cortex-m7", "cortex-m33"])
def test_the_encoder_compiles_for_each_cortex_m_and_stays_small(cpu: str, tmp_path: Path) -> None:
    compiled(
        "arm-none-eabi-gcc",
        *STRICT,
        "-Os",
        "-ffreestanding",
        f"-mcpu={cpu}",
        "-mthumb",
        "-c",
        SOURCE,
        "-o",
        tmp_path / "out.o",
    )
    text, data, bss = output_of("arm-none-eabi-size", tmp_path / "out.o").splitlines()[1].split()[:3]
    assert int(text) <= 2048
    assert int(data) == int(bss) == 0


def test_the_arduino_example_reports_losses_and_lead_off(tmp_path: Path) -> None:
    compiled("gcc", *STRICT, "-O2", "-c", SOURCE, "-o", tmp_path / "frame.o")
    sketch = FIRMWARE / "examples" / "ads1292r"
    includes = (f"-I{FIRMWARE}", f"-I{BENCH / 'arduino'}", f"-I{sketch}")
    warnings = ("-std=c++11", "-Wall", "-Wextra", "-Werror")
    compiled("g++", *warnings, *includes, BENCH / "arduino" / "board.cpp", tmp_path / "frame.o", "-o", tmp_path / "uno")
    decoder = EcgmoeDecoder()
    items = decoder.feed(output_of(tmp_path / "uno"))
    assert items[0] == StreamInfo(Fraction(250), ("II",), (48081,), "ADS1292R")
    at = 0
    seen: list[tuple[str, int]] = []
    for item in items:
        if isinstance(item, Samples):
            steps = np.rint(item.values[0] / (48081 * 1e-9))
            np.testing.assert_array_equal(steps, np.arange(at, at + steps.size) + steps_before_reader(items))
            at += steps.size
        elif isinstance(item, SampleLoss):
            assert item.reason == "device overflow"
            seen.append(("lost", at))
            at += item.samples or 0
        elif isinstance(item, LeadOffChange):
            seen.append(("off" if item.leads else "on", at))
    assert decoder.counts.bad_frames == 0
    assert decoder.counts.lost_in_device == decoder.counts.lost_samples > 900, "four seconds in which the line was deaf"
    assert [what for what, _ in seen] == ["off", "on", "lost"]
    assert seen[0][1] == pytest.approx(1500, abs=1)
    assert seen[1][1] == pytest.approx(2000, abs=1)


def steps_before_reader(items: list[WireItem]) -> float:
    """The ramp's first value that was sent."""
    first = next(item for item in items if isinstance(item, Samples))
    return float(np.rint(first.values[0, 0] / (48081 * 1e-9)))


def test_the_encoder_is_short_enough_to_be_read() -> None:
    assert sum(len((FIRMWARE / name).read_text().splitlines()) for name in ("ecgmoe_frame.h", "ecgmoe_frame.c")) < 300

"""Properties of single wire formats: clock, electrodes, counter, and bytes written by hand."""

from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
import pytest
from wire_items import decoder_of, losses_of, values_of

from ecgmoe_edge.firmware_bridge.formats.bitalino import crc4
from ecgmoe_edge.firmware_bridge.formats.openview import command
from ecgmoe_edge.firmware_bridge.items import DeviceRestart, LeadOffChange, SampleLoss, Samples, Settings, StreamInfo
from ecgmoe_edge.firmware_bridge.protocols import get_protocol
from ecgmoe_edge.firmware_bridge.simulated_stream import example_settings, simulate


def test_leads_can_be_named_and_omitted() -> None:
    wire_format = get_protocol("cyton")
    sent = simulate(wire_format, 100)
    items = wire_format.make_decoder(Settings(leads=("II", "-", "V1"))).feed(sent.all_bytes)
    info = items[0]
    assert isinstance(info, StreamInfo)
    assert info.leads == ("II", "V1")
    np.testing.assert_allclose(values_of(items), sent.values[[0, 2]], atol=1e-4)


def test_samples_of_hp6_and_shimmer3_carry_the_device_s_clock() -> None:
    for name, rate in (("hp6", 500), ("shimmer3", 512)):
        wire_format = get_protocol(name)
        sent = simulate(wire_format, 800)
        decoder = decoder_of(wire_format)
        items = decoder.feed(sent.preamble + b"".join(sent.frames[:20]))
        items += decoder.feed(b"".join(sent.frames[20:]))
        times = [item.device_time_s for item in items if isinstance(item, Samples)]
        assert times == pytest.approx([0.0, 20 * sent.per_frame / rate], abs=1e-3)


def test_a_wrapped_time_stamp_is_unwrapped() -> None:
    wire_format = get_protocol("shimmer3")
    encoder = wire_format.make_encoder(Settings(uv_per_lsb=1.0))
    before = b"".join(encoder.receive(say.data) for say in wire_format.start)
    encoder.counter = 2**24 // 64 - 10  # type: ignore[attr-defined]
    frames = [encoder.encode(np.zeros((2, 1))) for _ in range(40)]
    decoder = wire_format.make_decoder(Settings(uv_per_lsb=1.0))
    items = decoder.feed(before + b"".join(frames[:10])) + decoder.feed(b"".join(frames[13:]))
    assert losses_of(items) == [SampleLoss(3, "link")]
    assert [item.device_time_s for item in items if isinstance(item, Samples)] == pytest.approx(
        [512 - 10 / 512, 512 + 3 / 512]
    )


@pytest.mark.parametrize(
    ("name", "expected"), [("hp6", ("II",)), ("ad8232", ("ECG",)), ("openview-ads1292r", ("ECG",))]
)
def test_lead_off_is_reported(name: str, expected: tuple[str, ...]) -> None:
    wire_format = get_protocol(name)
    settings = example_settings(wire_format)
    encoder = wire_format.make_encoder(settings)
    values = np.full((len(encoder.leads), 480), 0.5)
    values[1 if name == "hp6" else 0, 160:320] = np.nan
    n = encoder.per_frame
    frames = [encoder.encode(values[:, at : at + n]) for at in range(0, 480, n)]
    items = wire_format.make_decoder(settings).feed(encoder.boot() + b"".join(frames))
    changes = [item for item in items if isinstance(item, LeadOffChange)]
    assert len(changes) == 2
    assert set(expected) <= set(changes[0].leads)
    assert changes[1].leads == ()
    place = next(i for i, item in enumerate(items) if item is changes[0])
    known = sum(item.values.shape[1] for item in items[:place] if isinstance(item, Samples))
    assert 160 <= known <= 160 + 16


def test_zeros_mean_lead_off_only_after_an_eighth_of_a_second() -> None:
    wire_format = get_protocol("openview-ads1292r")
    settings = example_settings(wire_format)
    encoder = wire_format.make_encoder(settings)
    codes = np.full((1, 60), 0.5)
    codes[0, 20:30] = 0.0
    items = wire_format.make_decoder(settings).feed(b"".join(encoder.encode(codes[:, [i]]) for i in range(60)))
    assert not any(isinstance(item, LeadOffChange) for item in items)


def test_hp6_counts_missing_ecg_blocks_among_those_of_other_channels() -> None:
    """Sequence numbers count all channels; the clock gives the number of missing ECG blocks."""
    import zlib

    def other(sequence: int, clock_ms: int) -> bytes:
        body = struct.pack("<4sIIQBBHI", b"DBLK", 32 + 12, sequence, clock_ms, 2, 0, 1, 0) + bytes(12)
        return body + struct.pack("<I", zlib.crc32(body))

    wire_format = get_protocol("hp6")
    sent = simulate(wire_format, 16 * 6)
    blocks = []
    for number, block in enumerate(sent.frames):
        body = block[:8] + struct.pack("<I", 2 * number) + block[12:-4]
        blocks += [body + struct.pack("<I", zlib.crc32(body)), other(2 * number + 1, 32 * number + 10)]
    decoder = decoder_of(wire_format)
    del blocks[3]  # a block of the other channel
    del blocks[4:7]  # one of ECG, and one of the other channel on each side
    items = decoder.feed(b"".join(blocks))
    assert losses_of(items) == [SampleLoss(16, "link")]
    assert decoder.counts.unknown_frames == 3


def test_a_sequence_number_of_hp6_that_goes_back_is_a_restart() -> None:
    wire_format = get_protocol("hp6")
    sent = simulate(wire_format, 16 * 20)
    items = decoder_of(wire_format).feed(b"".join(sent.frames[10:]) + b"".join(sent.frames[:5]))
    assert [type(item) for item in items if isinstance(item, DeviceRestart | SampleLoss)] == [DeviceRestart, SampleLoss]
    assert losses_of(items) == [SampleLoss(None, "restart")]


def test_chords_without_a_board_name_needs_the_rate() -> None:
    wire_format = get_protocol("chords")
    sent = simulate(wire_format, 100)
    silent = wire_format.make_decoder(Settings(uv_per_lsb=4.0))
    assert silent.feed(b"".join(sent.frames)) == []
    assert silent.counts.samples_before_info == 100
    known = wire_format.make_decoder(Settings(uv_per_lsb=4.0, rate=Fraction(250)))
    info = known.feed(b"".join(sent.frames))[0]
    assert isinstance(info, StreamInfo)
    assert (info.fs, len(info.leads)) == (250.0, 6)


def test_a_healthypi_5_that_sends_batches_is_decoded_at_its_own_rate() -> None:
    wire_format = get_protocol("openview-healthypi5")
    batch = struct.pack("<2sHB", b"\x0a\xfa", 50, 3) + struct.pack("<8i", *range(8)) + bytes(18) + b"\x00\x0b"
    items = wire_format.make_decoder(Settings(uv_per_lsb=1.0)).feed(batch * 3)
    info = items[0]
    assert isinstance(info, StreamInfo)
    assert info.fs == 125
    np.testing.assert_allclose(values_of(items)[0], np.tile(np.arange(8), 3) * 1e-3)


def test_openview_frames_without_the_00_are_decoded() -> None:
    wire_format = get_protocol("openview-ads1292r")
    sent = simulate(wire_format, 50)
    short = b"".join(frame[:-2] + b"\x0b" for frame in sent.frames)
    assert values_of(decoder_of(wire_format).feed(short)).shape[1] == 50


def test_bytes_written_by_hand_decode_to_the_expected_values() -> None:
    """Bytes by hand from the published layouts: encoder and decoder could share an error."""
    cyton = bytes.fromhex("a007 000001 ffffff 7fffff 800000 000000 000000 000000 000100") + bytes(6) + b"\xc0"
    got = values_of(
        get_protocol("cyton").make_decoder(Settings(uv_per_lsb=1000.0)).feed(cyton * 1 + b"\xa0\x08" + cyton[2:])
    )
    assert got[:, 0].tolist() == [1, -1, 8388607, -8388608, 0, 0, 0, 256]
    olimex = bytes.fromhex("a55a02 11 0200 0201 01ff 0000 03ff 0200 01")
    got = values_of(get_protocol("olimex").make_decoder(Settings(uv_per_lsb=1000.0)).feed(olimex))
    assert got[:, 0].tolist() == [0, 1, -1, -512, 511, 0]
    ads = bytes.fromhex("0afa 0900 02 fffe 0100 2003 4b00 00 000b")
    got = values_of(get_protocol("openview-ads1292r").make_decoder(Settings(uv_per_lsb=1000.0)).feed(ads))
    assert got.tolist() == [[-257]]
    lines = b"AD8232 demo\r\n512\r\n513\r\n!\r\n0\r\n"
    got = values_of(get_protocol("ad8232").make_decoder(Settings(uv_per_lsb=1000.0, rate=Fraction(100))).feed(lines))
    np.testing.assert_array_equal(got, [[0, 1, np.nan, -512]])
    frame = bytearray(8)
    frame[6], frame[5] = 0b1010_1111, 0b1111_1111  # digital lines, and all ten bits of A1
    assert crc4(frame) == int(_remainder(bytes(frame)))
    assert command(0x10) == bytes.fromhex("aa55 10 00 10")


def _remainder(data: bytes) -> int:
    """CRC-4 with x^4 + x + 1 by long division; the last half byte stands for the four zeros."""
    number = int.from_bytes(data, "big")
    for bit in range(8 * len(data) - 1, 3, -1):
        if number >> bit & 1:
            number ^= 0b10011 << (bit - 4)
    return number

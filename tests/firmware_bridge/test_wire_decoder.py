"""The decoder of "ecgmoe": exact losses, independent of chunking, robust against any bytes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge import (
    DeviceRestart,
    EndOfStream,
    LeadOffChange,
    LinkItem,
    SampleLoss,
    Samples,
    Settings,
    StreamInfo,
    get_protocol,
)
from ecgmoe_edge.firmware_bridge.decoder import MAX_REPEATS, EcgmoeDecoder
from ecgmoe_edge.firmware_bridge.frame import MAX_ENCODED, FrameEncoder, cobs_decode, cobs_encode

N = 10  # samples in the frames of these tests
INFO = StreamInfo(Fraction(250), ("II", "V1"), (100_000, 100_000), "bench")


def codes(n: int = N) -> NDArray[np.int32]:
    return np.arange(2 * n, dtype=np.int32).reshape(2, n)


def frames(encoder: FrameEncoder, count: int) -> list[bytes]:
    return [encoder.samples_frame(codes()) for _ in range(count)]


def plain(items: Sequence[LinkItem]) -> list[object]:
    """Items that compare by value."""
    return [
        (item.values.tolist(), item.first_index, item.device_time_s) if isinstance(item, Samples) else item
        for item in items
    ]


def losses(items: Sequence[LinkItem]) -> list[SampleLoss]:
    return [item for item in items if isinstance(item, SampleLoss)]


def test_a_whole_stream_arrives_in_millivolts_with_index_and_clock(info: StreamInfo, encoder: FrameEncoder) -> None:
    decoder = EcgmoeDecoder()
    items = decoder.feed(encoder.info_frame() + b"".join(frames(encoder, 3)) + encoder.end_frame())
    assert items[0] == info
    assert [item.first_index for item in items if isinstance(item, Samples)] == [0, 10, 20]
    assert [item.device_time_s for item in items if isinstance(item, Samples)] == [0.0, 0.04, 0.08]
    assert isinstance(items[1], Samples)
    np.testing.assert_allclose(items[1].values, codes() * 1e-4)
    assert items[-1] == EndOfStream(30)
    assert decoder.counts.samples == 30
    assert decoder.counts.lost_samples == decoder.counts.bad_frames == decoder.counts.junk_bytes == 0


KINDS = ("good", "good", "drop", "junk", "bad", "twice", "overflow", "restart", "long")


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_chunking_gives_the_same_items_and_counts(data: st.DataObject) -> None:
    encoder = FrameEncoder(INFO, run=1, index=2**32 - 35)
    pieces = [encoder.info_frame()]
    for _ in range(data.draw(st.integers(1, 12))):
        kind = data.draw(st.sampled_from(KINDS))
        one = encoder.samples_frame(codes(data.draw(st.integers(1, 20))), (data.draw(st.booleans()), False))
        if kind == "overflow":
            encoder.overflowed(data.draw(st.integers(1, 100_000)))
        elif kind == "restart":
            encoder = FrameEncoder(INFO, run=(encoder.run + 1) % 2**16)
            one = encoder.info_frame()
        made = {
            "drop": b"",
            "junk": data.draw(st.binary(max_size=50)) + one,
            "bad": bytes([one[0] ^ 1]) + one[1:],
            "twice": one + one,
            "long": b"\x01" * data.draw(st.integers(MAX_ENCODED - 2, MAX_ENCODED + 2)) + b"\x00" + one,
        }
        pieces.append(made.get(kind, one))
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    whole, chunked = EcgmoeDecoder(), EcgmoeDecoder()
    at_once = whole.feed(stream)
    in_chunks = [
        item
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for item in chunked.feed(stream[start:end])
    ]
    one_by_one = EcgmoeDecoder()
    in_bytes = [item for byte in stream for item in one_by_one.feed(bytes([byte]))]
    assert plain(in_chunks) == plain(at_once) == plain(in_bytes)
    assert chunked.counts == whole.counts == one_by_one.counts


@settings(deadline=None)
@given(st.lists(st.binary(max_size=3000) | st.just(b"\x00") | st.just(b"\xff" * 5000), max_size=20))
def test_random_bytes_give_no_items_and_use_no_memory(chunks: list[bytes]) -> None:
    decoder = EcgmoeDecoder()
    for chunk in chunks:
        assert decoder.feed(chunk) == []
        assert len(decoder._pending) <= MAX_ENCODED
    counts = decoder.counts
    assert counts.bytes == sum(map(len, chunks))
    assert counts.frames == counts.samples == counts.lost_samples == 0
    assert counts.junk_bytes <= counts.bytes


def test_ten_million_bytes_without_a_delimiter_take_no_memory() -> None:
    decoder = EcgmoeDecoder()
    for _ in range(100):
        decoder.feed(b"U" * 100_000)
        assert len(decoder._pending) == 0
    assert decoder.counts.junk_bytes == 10_000_000


def test_the_next_frame_after_junk_is_decoded(encoder: FrameEncoder) -> None:
    decoder = EcgmoeDecoder()
    items = decoder.feed(b"boot v1.2\r\nready\r\n" + encoder.info_frame() + encoder.samples_frame(codes()))
    assert isinstance(items[0], StreamInfo)
    assert decoder.counts.samples == N
    assert decoder.counts.bad_frames == 1
    assert decoder.counts.junk_bytes == len(b"boot v1.2\r\nready\r\n")


@given(kept=st.lists(st.booleans(), min_size=1, max_size=40))
def test_dropped_frames_equal_reported_losses(kept: list[bool]) -> None:
    encoder = FrameEncoder(INFO, run=3)
    decoder = EcgmoeDecoder()
    decoder.feed(encoder.info_frame())
    made = frames(encoder, len(kept))
    items = decoder.feed(b"".join(one for one, keep in zip(made, kept, strict=True) if keep) + encoder.end_frame())
    dropped = kept.count(False)
    assert sum(lost.samples or 0 for lost in losses(items)) == N * dropped
    assert decoder.counts.lost_samples == N * dropped
    assert decoder.counts.lost_frames == dropped
    assert [item.first_index for item in items if isinstance(item, Samples)] == [
        N * place for place, keep in enumerate(kept) if keep
    ]


def test_a_damaged_frame_is_a_loss_of_its_samples(encoder: FrameEncoder) -> None:
    decoder = EcgmoeDecoder()
    decoder.feed(encoder.info_frame())
    first, second, third = frames(encoder, 3)
    items = decoder.feed(first + second[:20] + bytes([second[20] ^ 64]) + second[21:] + third)
    assert losses(items) == [SampleLoss(N, "link")]
    assert decoder.counts.bad_frames == 1


def test_a_frame_counter_and_an_index_that_wrap_lose_nothing(info: StreamInfo) -> None:
    encoder = FrameEncoder(info, run=1, index=2**32 - 100)
    encoder.counter = 2**16 - 5
    decoder = EcgmoeDecoder()
    items = decoder.feed(encoder.info_frame() + b"".join(frames(encoder, 20)))
    assert losses(items) == []
    assert decoder.counts.samples == 20 * N
    assert items[-1].first_index == 190  # type: ignore[union-attr]


def test_a_loss_across_the_wrap_is_exact(info: StreamInfo) -> None:
    encoder = FrameEncoder(info, run=1, index=2**32 - 15)
    decoder = EcgmoeDecoder()
    decoder.feed(encoder.info_frame() + encoder.samples_frame(codes()))
    encoder.index += 70_000 * N  # lost: more frames than the counter can hold
    encoder.counter += 70_000
    items = decoder.feed(encoder.samples_frame(codes()))
    assert losses(items) == [SampleLoss(700_000, "link")]
    assert decoder.counts.lost_frames == 70_000 % 65_536  # "at least"


def test_the_clock_is_unwrapped_even_across_a_gap_longer_than_its_wrap(info: StreamInfo) -> None:
    encoder = FrameEncoder(info, run=1)
    decoder = EcgmoeDecoder()
    decoder.feed(encoder.info_frame() + encoder.samples_frame(codes()))
    encoder.index = 250 * 3600 * 5  # five hours later; the clock wraps every 71.6 minutes
    items = decoder.feed(encoder.samples_frame(codes()))
    assert isinstance(items[-1], Samples)
    assert items[-1].device_time_s == pytest.approx(5 * 3600.0)


def test_overflow_in_the_device_is_distinguished_from_loss_on_the_link(encoder: FrameEncoder) -> None:
    decoder = EcgmoeDecoder()
    decoder.feed(encoder.info_frame() + encoder.samples_frame(codes()))
    encoder.overflowed(37)
    assert losses(decoder.feed(encoder.samples_frame(codes()))) == [SampleLoss(37, "device overflow")]
    encoder.overflowed(5)
    encoder.samples_frame(codes())  # lost on the line
    items = decoder.feed(encoder.samples_frame(codes()))
    assert losses(items) == [SampleLoss(5, "device overflow"), SampleLoss(N, "link")]
    assert decoder.counts.lost_in_device == 42
    assert decoder.counts.lost_samples == 52


def test_a_repeated_frame_is_dropped_and_counted(encoder: FrameEncoder) -> None:
    decoder = EcgmoeDecoder()
    hello = encoder.info_frame()
    first, second = frames(encoder, 2)
    items = decoder.feed(hello + hello + first + first + second + first + second)
    assert decoder.counts.duplicate_frames == 4
    assert decoder.counts.samples == 2 * N
    assert losses(items) == []


def test_a_restart_is_a_loss_of_unknown_length_and_repeats_no_stream_info(info: StreamInfo) -> None:
    old, new = FrameEncoder(info, run=1), FrameEncoder(info, run=2)
    decoder = EcgmoeDecoder()
    decoder.feed(old.info_frame() + b"".join(frames(old, 5)))
    items = decoder.feed(new.info_frame() + new.samples_frame(codes()))
    assert items[:2] == [DeviceRestart(2), SampleLoss(None, "restart")]
    assert isinstance(items[2], Samples)
    assert items[2].first_index == 5 * N
    assert items[2].device_time_s == 0.0
    assert decoder.counts.restarts == decoder.counts.gaps_of_unknown_length == 1


def test_a_restart_with_another_scale_is_decoded_with_that_scale(info: StreamInfo) -> None:
    old, new = FrameEncoder(info, run=1), FrameEncoder(replace(info, picovolts_per_lsb=(200_000, 1)), run=2)
    decoder = EcgmoeDecoder()
    decoder.feed(old.info_frame() + old.samples_frame(codes()))
    unscaled = new.samples_frame(codes())  # its info frame got lost
    items = decoder.feed(unscaled + new.info_frame() + new.samples_frame(codes()))
    assert items[2] == new.info
    assert isinstance(items[3], Samples)
    np.testing.assert_allclose(items[3].values[0], codes()[0] * 2e-4)
    assert decoder.counts.samples_before_info == N


def test_a_restart_with_the_same_run_number_is_detected_after_some_frames(info: StreamInfo) -> None:
    old, new = FrameEncoder(info, run=1), FrameEncoder(info, run=1)
    decoder = EcgmoeDecoder()
    decoder.feed(old.info_frame() + b"".join(frames(old, 200)))
    items = decoder.feed(b"".join(frames(new, MAX_REPEATS)) + new.info_frame() + new.samples_frame(codes()))
    assert items[:2] == [DeviceRestart(1), SampleLoss(None, "restart")]
    assert isinstance(items[-1], Samples)


def test_a_stream_joined_in_the_middle_begins_at_the_first_info_frame_without_a_loss(encoder: FrameEncoder) -> None:
    decoder = EcgmoeDecoder()
    earlier = b"".join(frames(encoder, 4))
    items = decoder.feed(earlier[50:] + encoder.info_frame() + encoder.samples_frame(codes()))
    assert isinstance(items[0], StreamInfo)
    assert isinstance(items[1], Samples)
    assert items[1].first_index == 0
    assert losses(items) == []
    assert decoder.counts.samples_before_info == 3 * N


def test_lead_off_is_reported_once_with_names(encoder: FrameEncoder) -> None:
    decoder = EcgmoeDecoder()
    decoder.feed(encoder.info_frame())
    items = decoder.feed(b"".join(encoder.samples_frame(codes(), (False, off)) for off in (False, True, True, False)))
    assert [item for item in items if isinstance(item, LeadOffChange)] == [
        LeadOffChange((False, True), ("V1",)),
        LeadOffChange((False, False), ()),
    ]
    assert isinstance(items[1], LeadOffChange)  # before the samples that it concerns
    assert isinstance(items[2], Samples)


def test_a_gap_after_an_interruption_has_that_reason(encoder: FrameEncoder) -> None:
    decoder = EcgmoeDecoder()
    decoder.feed(encoder.info_frame() + encoder.samples_frame(codes()))
    first, second, third = frames(encoder, 3)
    decoder.feed(first[:30])
    decoder.interrupted()
    items = decoder.feed(second + third)
    assert losses(items) == [SampleLoss(N, "reconnect")]
    assert decoder.counts.junk_bytes == 30
    assert decoder.counts.bad_frames == 0


def test_frames_of_a_newer_version_are_counted_and_not_decoded(encoder: FrameEncoder) -> None:
    body = bytes([0x21]) + cobs_decode(encoder.info_frame().strip(b"\x00"))[1:-4]
    newer = cobs_encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\x00"
    decoder = EcgmoeDecoder()
    assert decoder.feed(newer) == []
    assert decoder.counts.newer_version == 1


def test_frames_of_an_unknown_type_are_skipped_without_a_loss(encoder: FrameEncoder) -> None:
    decoder = EcgmoeDecoder()
    decoder.feed(encoder.info_frame())
    items = decoder.feed(encoder._frame(9, b"battery low") + encoder.samples_frame(codes()))
    assert len(items) == 1
    assert decoder.counts.unknown_frames == 1
    assert decoder.counts.lost_frames == 0


def test_the_ecgmoe_protocol_uses_this_decoder(info: StreamInfo, encoder: FrameEncoder) -> None:
    wire_format = get_protocol("ecgmoe")
    assert wire_format.baud == 115200
    assert wire_format.make_decoder(Settings()).feed(encoder.info_frame()) == [info]

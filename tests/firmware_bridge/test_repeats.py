"""A repeated packet is a repeat, not a loss of a full counter range; text between numbers counts as lines."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from ecgmoe_edge.firmware_bridge import SampleLoss, Samples, Settings, WireFormat, get_protocol
from ecgmoe_edge.firmware_bridge.items import Decoder, WireItem
from ecgmoe_edge.firmware_bridge.protocols import all_protocols
from ecgmoe_edge.firmware_bridge.simulated_stream import simulate

COUNTING = [wire_format for wire_format in all_protocols() if wire_format.counter_range is not None]
FRAMES = 120


def received(items: list[WireItem]) -> int:
    return sum(item.values.shape[1] for item in items if isinstance(item, Samples))


def lost(items: list[WireItem]) -> list[SampleLoss]:
    return [item for item in items if isinstance(item, SampleLoss)]


@pytest.fixture(params=COUNTING, ids=lambda wire_format: wire_format.name)
def counting(request: pytest.FixtureRequest) -> WireFormat:
    wire_format: WireFormat = request.param
    return wire_format


def started(wire_format: WireFormat) -> tuple[Decoder, list[bytes], int]:
    """A decoder that has received the preamble, the frames that follow, and the samples in each."""
    sent = simulate(wire_format, FRAMES * 16, amplitude_mv=0.5)
    decoder = wire_format.make_decoder(sent.settings)
    decoder.feed(sent.preamble)
    return decoder, list(sent.frames), sent.per_frame


@pytest.mark.parametrize("times", [2, 3])
def test_a_repeated_frame_adds_no_samples_and_no_loss(counting: WireFormat, times: int) -> None:
    decoder, frames, per_frame = started(counting)
    again = (20, 21, 22, 50)
    items = decoder.feed(b"".join(frame * (times if place in again else 1) for place, frame in enumerate(frames)))
    assert received(items) == len(frames) * per_frame
    assert lost(items) == []
    assert decoder.counts.duplicate_frames == len(again) * (times - 1)


def test_a_few_frames_repeated_together_are_repeats(counting: WireFormat) -> None:
    decoder, frames, per_frame = started(counting)
    items = decoder.feed(b"".join([*frames[:33], *frames[30:33], *frames[33:]]))
    assert received(items) == len(frames) * per_frame
    assert lost(items) == []
    assert decoder.counts.duplicate_frames == 3


def test_a_repeat_of_the_first_frame_after_a_loss_leaves_the_loss_exact(counting: WireFormat) -> None:
    decoder, frames, per_frame = started(counting)
    items = decoder.feed(b"".join([*frames[:40], frames[43], frames[43], *frames[44:]]))
    assert received(items) == (len(frames) - 3) * per_frame
    assert [(gap.samples, gap.at_least) for gap in lost(items)] == [(3 * per_frame, False)]
    assert decoder.counts.duplicate_frames == 1


@pytest.mark.parametrize("name", ["cyton", "chords", "olimex"])
def test_a_full_counter_range_lost_in_silence_is_no_repeat_even_with_a_constant_signal(name: str) -> None:
    wire_format = get_protocol(name)
    encoder = wire_format.make_encoder(Settings(uv_per_lsb=5.0))
    decoder = wire_format.make_decoder(Settings(uv_per_lsb=5.0))
    decoder.feed(b"".join(encoder.receive(say.data) for say in wire_format.start))
    values = np.zeros((len(encoder.leads), 1))
    frames = [encoder.encode(values) for _ in range(600)]
    items = decoder.feed(b"".join(frames[:100]))
    decoder.silent(255 / float(encoder.rate))
    items += decoder.feed(b"".join(frames[355:]))
    assert [gap.samples for gap in lost(items)] == [255]
    assert decoder.counts.duplicate_frames == 0


def test_a_stuck_counter_with_a_constant_signal_is_one_gap_of_unknown_length() -> None:
    wire_format = get_protocol("cyton")
    encoder = wire_format.make_encoder(Settings())
    frame = encoder.encode(np.zeros((8, 1)))
    decoder = wire_format.make_decoder(Settings())
    items = decoder.feed(frame * 300)
    assert [gap.samples for gap in lost(items)] == [None]
    assert received(items) >= 290


@pytest.mark.parametrize(
    "line", [b"! Check electrodes\r\n", b"leads off\n", b"x\n", b"a much longer line of words, 1 2 3\r\n"]
)
@pytest.mark.parametrize("cut", [1, 7, 100_000])
def test_each_line_of_text_between_numbers_counts_as_one_lost_sample(line: bytes, cut: int) -> None:
    decoder = get_protocol("ad8232").make_decoder(Settings(rate=Fraction(200), uv_per_lsb=5.0))
    number = b"512\r\n"
    data = number * 200 + line * 1000 + number * 200
    items = [item for at in range(0, len(data), cut) for item in decoder.feed(data[at : at + cut])]
    assert [(gap.samples, gap.at_least) for gap in lost(items)] == [(1000, True)]

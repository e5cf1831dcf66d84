"""Common rules of all wire formats: decoded samples equal the encoded ones, and losses are reported."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from wire_items import decoder_of, joined, losses_of, lost_in, values_of

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.firmware_bridge.items import (
    SampleLoss,
    Samples,
    Settings,
    StreamInfo,
    WireFormat,
    WireItem,
)
from ecgmoe_edge.firmware_bridge.protocols import all_protocols, get_protocol
from ecgmoe_edge.firmware_bridge.simulated_stream import SimulatedStream, example_settings, simulate

FORMATS = [wire_format for wire_format in all_protocols() if wire_format.name != "ecgmoe"]  # it has tests of its own
COUNTED = [wire_format for wire_format in FORMATS if wire_format.counter_range is not None]
UNCOUNTED = [wire_format for wire_format in FORMATS if wire_format.counter_range is None]
SHORT = ("cyton", "bitalino", "chords", "olimex")  # a counter of one byte or less
STEPS = {"bitalino": 16}  # step of the 6-bit channels, in LSB


def name_of(wire_format: WireFormat) -> str:
    return wire_format.name


each = pytest.mark.parametrize("wire_format", FORMATS, ids=name_of)
each_counted = pytest.mark.parametrize("wire_format", COUNTED, ids=name_of)


@each
def test_samples_are_decoded_to_within_half_a_step(wire_format: WireFormat) -> None:
    sent = simulate(wire_format, 1000)
    decoder = decoder_of(wire_format)
    items = decoder.feed(sent.all_bytes) + decoder.interrupted()
    info = next(item for item in items if isinstance(item, StreamInfo))
    got = values_of(items)
    assert got.shape == sent.values.shape
    assert len(info.leads) == len(got)
    half = np.array(info.picovolts_per_lsb)[:, None] * 0.5e-9
    worst = np.abs(got - sent.values).max(axis=1, keepdims=True)
    assert (worst <= half * STEPS.get(wire_format.name, 1) * 2.0001).all()
    assert (worst <= half * 1.0001)[:4].all()
    assert decoder.counts.samples == sent.values.shape[1]
    assert decoder.counts.lost_samples == decoder.counts.bad_frames == 0


@each
@pytest.mark.parametrize("seed", range(4))
def test_any_chunking_gives_the_same_items(wire_format: WireFormat, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stream = troubled(simulate(wire_format, 240, seed), rng)
    whole, cut, single = (decoder_of(wire_format) for _ in range(3))
    at_once = whole.feed(stream) + whole.interrupted()
    places = np.sort(rng.integers(0, len(stream) + 1, 40)).tolist()
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    in_pieces = [item for piece in pieces for item in cut.feed(piece)] + cut.interrupted()
    in_bytes = [item for byte in stream for item in single.feed(bytes([byte]))] + single.interrupted()
    assert joined(in_pieces) == joined(at_once) == joined(in_bytes)
    assert whole.counts == cut.counts == single.counts
    assert values_of(at_once).size > 0


def troubled(sent: SimulatedStream, rng: np.random.Generator) -> bytes:
    """Frames that are dropped, mixed with junk, truncated, or have a changed byte."""
    out = [b"boot 1.0\r\n", sent.preamble]
    for frame in sent.frames:
        spoiled = bytearray(frame)
        spoiled[rng.integers(len(frame))] ^= int(rng.integers(1, 256))
        out.append(
            {
                0: b"",
                1: rng.bytes(int(rng.integers(1, 60))) + frame,
                2: frame[: rng.integers(len(frame))],
                3: bytes(spoiled),
            }.get(int(rng.integers(40)), frame)
        )
    return b"".join(out)


@each_counted
def test_dropped_samples_equal_reported_losses(wire_format: WireFormat) -> None:
    """Over 10,000 frames in bursts shorter than the counter's range."""
    rng = np.random.default_rng(3)
    sent = simulate(wire_format, 23_000 * (16 if wire_format.name == "hp6" else 1))
    drop = np.zeros(len(sent.frames), dtype=bool)
    at = 10
    while at < len(drop) - 30:
        burst = int(rng.integers(1, 16))
        drop[at : at + burst] = True
        at += burst + int(rng.integers(1, 16))
    dropped = int(drop.sum())
    kept = [frame for frame, gone in zip(sent.frames, drop, strict=True) if not gone]
    decoder = decoder_of(wire_format)
    items: list[WireItem] = decoder.feed(sent.preamble)
    for first in range(0, len(kept), 1000):
        items += decoder.feed(b"".join(kept[first : first + 1000]))
    items += decoder.interrupted()
    assert dropped > 10_000
    assert lost_in(items) == dropped * sent.per_frame == decoder.counts.lost_samples
    assert decoder.counts.lost_frames == dropped
    assert not any(lost.at_least for lost in losses_of(items))


@pytest.mark.parametrize("name", SHORT)
def test_a_burst_longer_than_the_counter_range_is_reported_as_a_lower_bound(name: str) -> None:
    wire_format = get_protocol(name)
    span = wire_format.counter_range or 0
    sent = simulate(wire_format, 2000)
    decoder = decoder_of(wire_format)
    items = decoder.feed(sent.preamble + b"".join(sent.frames[:300]))
    rate = next(item for item in items if isinstance(item, StreamInfo)).fs
    decoder.silent((span + 7) / rate)
    items = decoder.feed(b"".join(sent.frames[300 + span + 7 : 1000]))
    assert losses_of(items) == [SampleLoss(7, "link", at_least=True)]
    decoder.silent(0.5 / rate)
    items = decoder.feed(b"".join(sent.frames[1005:1100]))
    assert losses_of(items) == [SampleLoss(5, "link")]


@pytest.mark.parametrize("name", SHORT)
def test_junk_longer_than_the_counter_range_gives_a_lower_bound(name: str) -> None:
    wire_format = get_protocol(name)
    span = wire_format.counter_range or 0
    sent = simulate(wire_format, 1000)
    decoder = decoder_of(wire_format)
    decoder.feed(sent.preamble + b"".join(sent.frames[:100]))
    items = decoder.feed(b"\x5b" * (span * len(sent.frames[0])) + b"".join(sent.frames[103:200]))
    assert losses_of(items) == [SampleLoss(3, "link", at_least=True)]


@pytest.mark.parametrize("name", ["cyton", "chords", "olimex"])
def test_a_damaged_counter_is_not_reported_as_a_loss(name: str) -> None:
    """Without a checksum, one wrong counter would look like 200 lost samples and then 56 more."""
    wire_format = get_protocol(name)
    sent = simulate(wire_format, 300)
    place = {"cyton": 1, "chords": 2, "olimex": 3}[name]
    frames = [bytearray(frame) for frame in sent.frames]
    frames[100][place] ^= 0x80
    decoder = decoder_of(wire_format)
    items = decoder.feed(sent.preamble + b"".join(map(bytes, frames)))
    assert losses_of(items) == []
    assert values_of(items).shape[1] == 300
    assert decoder.counts.bad_frames == 1
    del frames[101]  # a loss right after the damage must not turn it into a jump
    decoder = decoder_of(wire_format)
    assert lost_in(decoder.feed(sent.preamble + b"".join(map(bytes, frames)))) == 1


def test_a_stuck_counter_is_one_gap_of_unknown_length() -> None:
    """As the first 370 frames of a real Olimex shield after its Arduino has started."""
    wire_format = get_protocol("olimex")
    sent = simulate(wire_format, 300)
    frames = [bytearray(frame) for frame in sent.frames]
    for frame in frames[100:200]:
        frame[3] = 0
    for number, frame in enumerate(frames[200:]):
        frame[3] = (number + 1) % 256
    del frames[250:255]
    items = decoder_of(wire_format).feed(b"".join(map(bytes, frames)))
    assert losses_of(items) == [SampleLoss(None, "link"), SampleLoss(5, "link")]
    assert values_of(items).shape[1] == 295


@each
def test_decoding_continues_after_junk_and_a_truncated_frame(wire_format: WireFormat) -> None:
    sent = simulate(wire_format, 40 * (16 if wire_format.name == "hp6" else 8))
    half = len(sent.frames) // 2
    junk = b"\xff\x13Error 7: retry\n\xfe" * 3
    stream = (
        sent.preamble + b"".join(sent.frames[:half]) + sent.frames[half][:4] + junk + b"".join(sent.frames[half + 1 :])
    )
    decoder = decoder_of(wire_format)
    items = decoder.feed(stream)
    assert sum(item.values.shape[1] for item in items if isinstance(item, Samples)) >= 0.9 * sent.values.shape[1]
    if wire_format.name != "shimmer3":  # whose frames begin with a 00 and have no end: junk in one passes as signal
        assert losses_of(items), "a frame is gone"
    assert decoder.counts.junk_bytes >= 4


@pytest.mark.parametrize("wire_format", UNCOUNTED, ids=name_of)
def test_without_a_counter_damage_is_reported_as_a_lower_bound(wire_format: WireFormat) -> None:
    sent = simulate(wire_format, 200)
    spoiled = bytearray(sent.frames[100])
    spoiled[0] ^= 0x40
    decoder = decoder_of(wire_format)
    items = decoder.feed(sent.preamble + b"".join([*sent.frames[:100], bytes(spoiled), *sent.frames[101:]]))
    assert [(lost.samples, lost.at_least) for lost in losses_of(items)] == [(sent.per_frame, True)]


@each
def test_an_interruption_of_the_port_is_a_gap(wire_format: WireFormat) -> None:
    sent = simulate(wire_format, 640)
    half = len(sent.frames) // 2
    decoder = decoder_of(wire_format)
    first = decoder.feed(sent.preamble + b"".join(sent.frames[:half]) + sent.frames[half][:3]) + decoder.interrupted()
    assert losses_of(first) == []
    second = decoder.feed(sent.frames[half + 1][2:] + b"".join(sent.frames[half + 2 :]))
    exact = 2 * sent.per_frame if wire_format.name == "hp6" else None
    assert losses_of(second) == [SampleLoss(exact, "reconnect")]
    assert values_of(second).shape[1] == (len(sent.frames) - half - 2) * sent.per_frame


@each
def test_memory_stays_within_a_few_frames(wire_format: WireFormat) -> None:
    decoder = decoder_of(wire_format)
    sent = simulate(wire_format, 64)
    rng = np.random.default_rng(0)
    for junk in (
        b"\x00" * 40_000,
        b"\xa0" * 40_000,
        b"\x0a\xfa" * 20_000,
        rng.bytes(40_000),
        sent.frames[0][:-1] * 500,
    ):
        decoder.feed(junk)
        assert decoder.pending <= 8192  # type: ignore[attr-defined]


@each
def test_each_format_recognises_its_own_bytes_and_no_other_format_does(wire_format: WireFormat) -> None:
    sent = simulate(wire_format, 400)
    received = b"".join(sent.frames)[3:]
    scores = {other.name: other.recognise(received) for other in all_protocols()}
    mine = scores.pop(wire_format.name)
    assert mine >= 0.5
    assert max(scores.values()) <= mine - 0.2


@each
def test_noise_is_not_recognised(wire_format: WireFormat) -> None:
    rng = np.random.default_rng(1)
    for received in (b"", b"x", rng.bytes(4000), b"\x00" * 3000, b"\xff" * 3000, b"login: \r\n" * 200):
        assert wire_format.recognise(received) < 0.5


@each
def test_the_virtual_device_obeys_start_and_stop_commands(wire_format: WireFormat) -> None:
    encoder = wire_format.make_encoder(example_settings(wire_format))
    assert encoder.streaming == (not wire_format.start)
    for step in wire_format.start:
        answer = encoder.receive(step.data)
        assert step.reply in answer
    assert encoder.streaming
    for step in wire_format.stop:
        encoder.receive(step.data)
    assert encoder.streaming == (not wire_format.stop)


@each
def test_the_virtual_device_replies_to_the_probe_query(wire_format: WireFormat) -> None:
    if wire_format.probe is None:
        pytest.skip("it has no query")
    answer = wire_format.make_encoder(example_settings(wire_format)).receive(wire_format.probe.query)
    assert wire_format.probe.is_reply(b"noise\r\n" + answer)
    assert not wire_format.probe.is_reply(b"noise\r\n")


@each
def test_a_required_setting_is_never_guessed(wire_format: WireFormat) -> None:
    if not wire_format.needs:
        wire_format.make_decoder(Settings())
        return
    with pytest.raises(UsageError, match=wire_format.needs[-1]):
        wire_format.make_decoder(Settings())
    with pytest.raises(UsageError, match="positive"):
        wire_format.make_decoder(Settings(uv_per_lsb=-1.0, rate=Fraction(100)))


@each
def test_each_format_describes_itself_for_users(wire_format: WireFormat) -> None:
    for text in (wire_format.description, wire_format.rate, wire_format.leads, wire_format.scale, wire_format.limits):
        assert text
    assert wire_format.bauds
    assert ("must be given" in wire_format.scale) == ("--uv-per-lsb" in wire_format.needs)
    assert ("no counter" in wire_format.limits) == (wire_format.counter_range is None)

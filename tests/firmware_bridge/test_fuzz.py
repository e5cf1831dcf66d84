"""No bytes make a decoder raise, grow, or accept more frames than its check bits allow by chance."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgmoe_edge.firmware_bridge.items import Samples, WireFormat
from ecgmoe_edge.firmware_bridge.protocols import all_protocols
from ecgmoe_edge.firmware_bridge.simulated_stream import SimulatedStream, example_settings, simulate

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import fuzz

FORMATS = all_protocols()
SENT: dict[str, SimulatedStream] = {wire_format.name: simulate(wire_format, 96) for wire_format in FORMATS}
each = pytest.mark.parametrize("wire_format", FORMATS, ids=lambda wire_format: wire_format.name)


def check(result: fuzz.Fuzzed) -> None:
    assert result.frames_in_noise <= result.chance
    assert result.most_held_back <= fuzz.MOST_PENDING
    assert result.grown_mb < 20


@each
def test_a_hundred_thousand_random_bytes_do_no_harm(wire_format: WireFormat) -> None:
    result = fuzz.fuzz(wire_format, 100_000, seed=1)
    assert result.bytes_fed >= 100_000
    check(result)


@pytest.mark.slow
@each
def test_ten_million_random_bytes_do_no_harm(wire_format: WireFormat) -> None:
    result = fuzz.fuzz(wire_format, 10_000_000, seed=2)
    assert result.bytes_fed >= 10_000_000
    check(result)


@each
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_hostile_combinations_of_real_frames_do_no_harm(wire_format: WireFormat, data: st.DataObject) -> None:
    """Hypothesis combines pieces of real frames and minimises any failure."""
    sent = SENT[wire_format.name]
    whole = sent.frames[0]
    fragment = st.builds(
        lambda frame, first, last: frame[first:last],
        st.sampled_from(sent.frames[:8]),
        st.integers(0, len(whole)),
        st.integers(0, len(whole)),
    )
    pieces = data.draw(
        st.lists(
            st.one_of(st.binary(max_size=40), fragment, st.sampled_from([sent.preamble, *sent.frames[:8]])), max_size=30
        )
    )
    decoder = wire_format.make_decoder(example_settings(wire_format))
    items = [item for piece in pieces for item in decoder.feed(piece)] + decoder.interrupted()
    counts = decoder.counts
    assert counts.bytes == sum(map(len, pieces))
    assert counts.samples == sum(item.values.shape[1] for item in items if isinstance(item, Samples))
    assert 0 <= counts.junk_bytes <= counts.bytes
    assert counts.lost_samples >= 0

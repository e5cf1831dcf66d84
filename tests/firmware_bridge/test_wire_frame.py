"""Single frames of "ecgmoe": stuffing, scale, and rejection of impossible values."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgmoe_edge.firmware_bridge import StreamInfo, frame

LONG_PIECES = st.lists(st.sampled_from([b"\x00", b"x" * 253, b"y" * 254, b"z" * 255])).map(b"".join)


@given(st.binary(max_size=1100) | LONG_PIECES)
def test_stuffing_leaves_no_zero_and_loses_nothing(body: bytes) -> None:
    stuffed = frame.cobs_encode(body)
    assert 0 not in stuffed
    assert len(stuffed) <= len(body) + len(body) // 254 + 1
    assert frame.cobs_decode(stuffed) == body


@given(st.binary(min_size=1, max_size=300))
def test_unstuffing_anything_gives_bytes_or_a_frame_error(junk: bytes) -> None:
    try:
        frame.cobs_decode(junk)
    except frame.FrameError:
        return


def test_stuffing_matches_the_paper() -> None:
    assert frame.cobs_encode(b"\x00") == b"\x01\x01"
    assert frame.cobs_encode(b"\x11\x22\x00\x33") == b"\x03\x11\x22\x02\x33"
    assert frame.cobs_encode(b"\x11\x00\x00\x00") == b"\x02\x11\x01\x01\x01"


def test_codes_are_rounded_and_clipped_and_missing_values_have_their_own_code() -> None:
    values = np.array([[0.00004, 0.00006, 1e6, -1e6, np.nan]])
    codes, clipped = frame.to_codes(values, (100_000,))
    assert clipped == 2
    assert codes.tolist() == [[0, 1, 8388607, -8388607, -8388608]]
    back = frame.to_millivolts(codes, (100_000,))
    assert np.isnan(back[0, 4])
    assert back[0, 1] == pytest.approx(1e-4)


@given(
    codes=st.lists(st.tuples(*[st.integers(-(1 << 23), (1 << 23) - 1)] * 3), min_size=1, max_size=110),
    off=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_a_samples_frame_decodes_to_its_codes_and_flags(codes: list[tuple[int, ...]], off: tuple[bool, ...]) -> None:
    encoder = frame.FrameEncoder(StreamInfo(Fraction(360), ("I", "II", "III"), (1, 2, 3)), run=1)
    wanted = np.array(codes, dtype=np.int32).T
    header, payload = frame.open_frame(encoder.samples_frame(wanted, off)[:-1])
    flags, got = frame.parse_samples(payload)
    assert header.kind == frame.SAMPLES
    assert [bool(flags >> lead & 1) for lead in range(3)] == list(off)
    np.testing.assert_array_equal(got, wanted)


def test_the_largest_frame_keeps_within_the_limit(info: StreamInfo) -> None:
    for leads in (1, 2, 8, 16):
        wide = replace(info, leads=("x",) * leads, picovolts_per_lsb=(1,) * leads)
        encoder = frame.FrameEncoder(wide, run=1)
        full = np.full((leads, encoder.max_samples), 0x111111, dtype=np.int32)
        assert len(encoder.samples_frame(full)) <= frame.MAX_ENCODED + 1


def test_every_flipped_bit_is_detected(encoder: frame.FrameEncoder) -> None:
    good = encoder.info_frame().strip(b"\x00")
    for position in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            with pytest.raises(frame.FrameError):
                frame.open_frame(bytes(bad))


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": Fraction(1, 2)},
        {"rate": Fraction(200_000)},
        {"leads": (), "picovolts_per_lsb": ()},
        {"leads": ("II",)},
        {"picovolts_per_lsb": (0, 1)},
        {"picovolts_per_lsb": (1, 2**32)},
        {"leads": ("a name of a lead that is too long", "V1")},
        {"device": "d" * 33},
    ],
)
def test_the_encoder_rejects_values_that_no_info_frame_can_hold(info: StreamInfo, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        frame.FrameEncoder(replace(info, **wrong), run=1)  # type: ignore[arg-type]


@given(st.binary(max_size=120))
def test_any_info_payload_is_decoded_or_a_frame_error(payload: bytes) -> None:
    try:
        understood = frame.parse_info(payload)
    except frame.FrameError:
        return
    assert 1 <= len(understood.leads) <= 16

"""The code agrees with the worked example in docs/serial-protocol.md."""

from __future__ import annotations

import re
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np

from ecgmoe_edge.firmware_bridge import EndOfStream, LeadOffChange, Samples, StreamInfo
from ecgmoe_edge.firmware_bridge.decoder import EcgmoeDecoder
from ecgmoe_edge.firmware_bridge.frame import FrameEncoder

DOCUMENT = (Path(__file__).parents[2] / "docs" / "serial-protocol.md").read_text(encoding="utf-8")
FRAMES = [bytes.fromhex(block) for block in re.findall(r"```hex\n(.*?)```", DOCUMENT, flags=re.DOTALL)]
INFO = StreamInfo(Fraction(250), ("II", "V1"), (22_352, 22_352), "demo")
CODES = np.array([[1, -1, 258], [8388607, -8388608, -8388607]], dtype=np.int32)


def test_the_documented_bytes_decode_to_the_documented_values() -> None:
    info, lead_off, samples, end = EcgmoeDecoder().feed(b"".join(FRAMES))
    assert info == INFO
    assert lead_off == LeadOffChange((False, True), ("V1",))
    assert isinstance(samples, Samples)
    assert samples.device_time_s == 4.0
    np.testing.assert_allclose(samples.values[0], CODES[0] * 22_352e-9)
    np.testing.assert_allclose(samples.values[1], [187.502, np.nan, -187.502], atol=0.001)
    assert end == EndOfStream(1003)


def test_the_encoder_writes_the_documented_bytes() -> None:
    encoder = FrameEncoder(INFO, run=0x1234, index=1000)
    assert [encoder.info_frame(), encoder.samples_frame(CODES, (False, True)), encoder.end_frame()] == FRAMES


def test_the_documented_crc_is_the_one_used() -> None:
    assert "0xCBF43926" in DOCUMENT
    assert zlib.crc32(b"123456789") == 0xCBF43926


def test_the_documented_frame_length_is_correct() -> None:
    assert "3 n k + 27" in DOCUMENT
    busy = np.full((2, 25), 0x111111, dtype=np.int32)
    assert len(FrameEncoder(INFO, run=0x1234).samples_frame(busy)) == 3 * 25 * 2 + 27

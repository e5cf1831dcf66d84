"""The "ecgmoe" protocol as a wire format: the device's side, and what the link needs (docs/serial-protocol.md)."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge import frame
from ecgmoe_edge.firmware_bridge.decoder import EcgmoeDecoder
from ecgmoe_edge.firmware_bridge.items import CommandStep, Probe, Settings, StreamInfo, WireFormat


class EcgmoeDevice:
    """The device's side: frames with their counters, and an info frame for each new reader."""

    def __init__(self, encoder: frame.FrameEncoder, per_frame: int) -> None:
        self.encoder = encoder
        self.rate = encoder.info.rate
        self.leads = encoder.info.leads
        self.uv_per_lsb = encoder.info.picovolts_per_lsb[0] * 1e-6
        self.per_frame = min(per_frame, encoder.max_samples)
        self.streaming = True
        self.clipped = 0

    def receive(self, data: bytes) -> bytes:
        """Process the commands `S` and `P`; the last one counts. No reply."""
        started, stopped = data.rfind(frame.COMMAND_START), data.rfind(frame.COMMAND_STOP)
        if started != stopped:
            self.streaming = started > stopped
        return b""

    def boot(self) -> bytes:
        """No bytes at power-on."""
        return b""

    def announce(self) -> bytes:
        """The info frame."""
        return self.encoder.info_frame()

    def encode(self, values: NDArray[np.float64]) -> bytes:
        """A samples frame of values (leads, samples) in mV; NaN is sent as "not measured"."""
        codes, beyond = frame.to_codes(values, self.encoder.info.picovolts_per_lsb)
        self.clipped += beyond
        return self.encoder.samples_frame(codes)

    def end(self) -> bytes:
        """The info frame and the end frame."""
        return self.encoder.info_frame() + self.encoder.end_frame()


def make_device(settings: Settings) -> EcgmoeDevice:
    """A device with 250 Hz, one lead and steps of 0.1 uV, unless the settings differ."""
    leads = settings.leads or ("II",)
    rate = settings.rate or Fraction(250)
    picovolts = round((settings.uv_per_lsb or 0.1) * 1e6)
    info = StreamInfo(rate, leads, (picovolts,) * len(leads), "virtual-holter")
    return EcgmoeDevice(frame.FrameEncoder(info, int.from_bytes(os.urandom(2), "little")), max(1, round(rate / 20)))


def recognise(data: bytes) -> float:
    """1.0 from the first valid frame on: random bytes pass its CRC-32 once in four thousand million."""
    decoder = EcgmoeDecoder()
    decoder.feed(data)
    return 1.0 if decoder.counts.frames or decoder.counts.newer_version else 0.0


FORMATS = (
    WireFormat(
        name="ecgmoe",
        description="framed 24-bit ECG with sequence, clock and CRC-32 (docs/serial-protocol.md)",
        bauds=(115200,),
        rate="sent by the device",
        leads="sent by the device",
        scale="sent by the device",
        limits="counters of samples and of the device's overflows, and CRC-32: losses are exact, damage is detected",
        start=(CommandStep(frame.COMMAND_START),),
        stop=(CommandStep(frame.COMMAND_STOP),),
        make_decoder=lambda settings: EcgmoeDecoder(settings.leads),
        make_encoder=make_device,
        recognise=recognise,
        probe=Probe(frame.COMMAND_START, lambda answer: recognise(answer) > 0, 1.0, frame.COMMAND_STOP),
        counter_range=2**31,
        check_bits=32.0,
    ),
)

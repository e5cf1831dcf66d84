"""Checks in the first seconds whether the received bytes fit the chosen protocol, and tells the user if not."""

from __future__ import annotations

import time

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.firmware_bridge.items import WireCounts, WireFormat
from ecgmoe_edge.firmware_bridge.protocols import all_protocols
from ecgmoe_edge.firmware_bridge.recognition import best_protocol, describe_bytes, rank_protocols

MIN_BYTES = 256  # fewer bytes may be a boot message and are not judged
MAX_JUNK_FRACTION = 0.9  # with more junk than this fraction of all bytes, the few valid frames are chance matches
KEPT_BYTES = 8192
KEPT_FROM_START = 2048  # number of the first received bytes that are kept: they may contain a boot message


class ProtocolCheck:
    """Watches a decoder during the first seconds of a connection.

    Args:
        port: the port's path, for messages.
        wire_format: the protocol that was chosen.
        baud: the baud rate in use, for messages.
        counts: the decoder's counts, read at each check.
        no_frame_after_s: with bytes but no valid frame for this many seconds, the protocol or baud rate is wrong.
        no_samples_after_s: with no samples for this many seconds, the device is given up. None: wait for ever.
    """

    def __init__(
        self,
        port: str,
        wire_format: WireFormat,
        baud: int,
        counts: WireCounts,
        no_frame_after_s: float,
        no_samples_after_s: float | None = None,
    ) -> None:
        self._port = port
        self._format = wire_format
        self._baud = baud
        self._counts = counts
        self._no_frame_after_s = no_frame_after_s
        self._no_samples_after_s = no_samples_after_s
        self._opened_at = time.monotonic()
        self._first_byte_at: float | None = None  # None until the first byte arrives
        self._kept = bytearray()
        self._decided = False

    def add(self, data: bytes) -> None:
        """Keep received bytes for later messages."""
        if self._decided:
            return
        if self._first_byte_at is None:
            self._first_byte_at = time.monotonic()
        self._kept += data
        if len(self._kept) > KEPT_BYTES:
            del self._kept[KEPT_FROM_START : KEPT_FROM_START + len(self._kept) - KEPT_BYTES]

    def restart(self) -> None:
        """Restart the time-outs: the port was opened again, and the device needs time to start."""
        self._opened_at = time.monotonic()

    @property
    def timed_out(self) -> bool:
        """Whether the device has sent no samples within `no_samples_after_s`."""
        return (
            self._no_samples_after_s is not None
            and not self._decided
            and not self._counts.samples
            and time.monotonic() - self._opened_at >= self._no_samples_after_s
        )

    def check(self, gone: bool = False) -> None:
        """Judge what has been received so far.

        Args:
            gone: the port has just gone away, so no more bytes will follow: judge now.

        Raises:
            DeviceError: the bytes do not fit the protocol, or no samples arrived in time.
        """
        if self._decided:
            return
        counts = self._counts
        receiving_s = 0.0 if self._first_byte_at is None else time.monotonic() - self._first_byte_at
        enough = self._first_byte_at is not None and (gone or receiving_s >= self._no_frame_after_s)
        if enough and not counts.samples:
            advice = self._format.advice(bytes(self._kept))
            if advice is not None and not gone:
                raise DeviceError(f"{self._port}: {advice}")
        valid = counts.frames > 0 and counts.junk_bytes < MAX_JUNK_FRACTION * counts.bytes
        if enough and counts.bytes >= MIN_BYTES:
            if not valid:
                self._raise_invalid_bytes(receiving_s)
            if counts.samples or not counts.samples_before_info:
                self._decided = True
                self._kept.clear()
                return
        if self.timed_out and not gone:
            self._raise_no_samples(valid)

    def _raise_invalid_bytes(self, receiving_s: float) -> None:
        counts = self._counts
        if counts.newer_version:
            raise DeviceError(
                f"{self._port} sends a newer version of the {self._format.name} protocol than this program knows: "
                "update ecgmoe-edge."
            )
        found = "without a valid" if not counts.frames else f"with only {counts.frames} valid"
        frames = "frame" if counts.frames <= 1 else "frames"
        raise DeviceError(
            f"{self._port} sent {counts.bytes} bytes in {receiving_s:.1f} s {found} {self._format.name} {frames} "
            f"at {self._baud} baud: {self._advice()}"
        )

    def _raise_no_samples(self, valid: bool) -> None:
        """Raise if no samples arrived, unless the device sends valid frames: then it may start to measure later."""
        seconds = f"{time.monotonic() - self._opened_at:.0f} s"
        if self._first_byte_at is None:
            command = " after the start command" if self._format.start else ""
            advice = self._format.advice(b"") or (
                f"check that the device is switched on and charged, that this is its port (`ecgmoe-edge ports`), and "
                f"that it uses the {self._format.name} protocol at {self._baud} baud (--protocol, --baud)."
            )
            raise DeviceError(f"{self._port} sent nothing within {seconds}{command}: {advice}")
        if not valid:
            raise DeviceError(
                f"{self._port} sent no samples within {seconds}, only {describe_bytes(bytes(self._kept))}: check that "
                "the device is measuring, and --protocol and --baud."
            )
        if self._counts.samples_before_info:
            raise DeviceError(
                f"{self._port} sends {self._format.name} frames, but no frame with its sampling rate and leads within "
                f"{seconds}: reset the device, or give --fs if its protocol accepts one."
            )
        self._decided = True
        self._kept.clear()

    def _advice(self) -> str:
        received = bytes(self._kept)
        other = best_protocol(rank_protocols(received, all_protocols()))
        if other is not None and other != self._format.name:
            return f"the bytes look like {other}, so try --protocol {other}."
        likeness = describe_bytes(received)
        if likeness.startswith("text"):
            return (
                f"it sends {likeness}. Check --protocol; the device may still be starting, have another firmware, or "
                "be on another port."
            )
        return (
            "check --protocol and --baud, and that this is the right port; --protocol auto tries every rate. "
            "The most likely cause is a wrong baud rate: the bytes are "
            + likeness.removeprefix("bytes that are ")
            + "."
        )

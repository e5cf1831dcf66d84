"""Whether what comes can be what was expected; if not, a sentence that says what it looks like and what to do."""

from __future__ import annotations

import time

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.firmware_bridge.items import WireCounts, WireFormat
from ecgmoe_edge.firmware_bridge.protocols import all_protocols
from ecgmoe_edge.firmware_bridge.recognition import clear_winner, describe_bytes, judge

NONSENSE_BYTES = 256  # fewer may be a message at boot
JUNK_SHARE = 0.9  # from which on a few frames among much junk are there by chance
KEPT_BYTES = 8192


class Doubt:
    """Watches the first seconds of what a decoder makes of a port's bytes. Only ever raises DeviceError, by `check`."""

    def __init__(
        self, port: str, wire_format: WireFormat, baud: int, counts: WireCounts, no_frame_after_s: float
    ) -> None:
        self._port = port
        self._format = wire_format
        self._baud = baud
        self._counts = counts
        self._no_frame_after_s = no_frame_after_s
        self._since: float | None = None  # when the first bytes came
        self._kept = bytearray()
        self._over = False

    def heard(self, data: bytes) -> None:
        """Bytes that came."""
        if self._over:
            return
        if self._since is None:
            self._since = time.monotonic()
        self._kept += data
        del self._kept[:-KEPT_BYTES]

    def check(self, gone: bool = False) -> None:
        """Raise DeviceError if what came is nonsense, for long enough or with nothing to follow (`gone`)."""
        if self._over or self._since is None:
            return
        counts = self._counts
        lasted_s = time.monotonic() - self._since
        if counts.bytes < NONSENSE_BYTES or not (gone or lasted_s >= self._no_frame_after_s):
            return
        if counts.frames and counts.junk_bytes < JUNK_SHARE * counts.bytes:
            self._over = True
            self._kept.clear()
            return
        if counts.newer_version:
            raise DeviceError(
                f"{self._port} sends a newer version of the {self._format.name} protocol than this program knows: "
                "update ecgmoe-edge."
            )
        none = "none of them is" if not counts.frames else f"hardly any ({counts.frames}) is"
        raise DeviceError(
            f"{self._port} sent {counts.bytes} bytes in {lasted_s:.1f} s, and {none} a valid {self._format.name} frame "
            f"at {self._baud} baud: {self._advice()}"
        )

    def _advice(self) -> str:
        came = bytes(self._kept)
        other = clear_winner(judge(came, all_protocols()))
        if other is not None and other != self._format.name:
            return f"it looks like {other}, so try --protocol {other}."
        looks = describe_bytes(came)
        if looks.startswith("text"):
            return (
                f"check --protocol, for it sends {looks}: a device that is still starting, one with another firmware, "
                "or not the right port."
            )
        return (
            "check --protocol and --baud, and that this is the right port; --protocol auto listens at every rate. "
            "A wrong baud rate is the likeliest: they are " + looks.removeprefix("bytes that are ") + "."
        )

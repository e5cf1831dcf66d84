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
FIRST_BYTES = 2048  # of these, what a device says before its frames stays


class Doubt:
    """Watches the first seconds of what a decoder makes of a port's bytes. Only ever raises DeviceError, by `check`.

    no_frame_after_s: bytes without a valid frame for so long are taken for something else. nothing_after_s: a device
    that has sent no samples and nothing that could become some for so long is not there; None: it is waited for.
    """

    def __init__(
        self,
        port: str,
        wire_format: WireFormat,
        baud: int,
        counts: WireCounts,
        no_frame_after_s: float,
        nothing_after_s: float | None = None,
    ) -> None:
        self._port = port
        self._format = wire_format
        self._baud = baud
        self._counts = counts
        self._no_frame_after_s = no_frame_after_s
        self._nothing_after_s = nothing_after_s
        self._begun = time.monotonic()
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
        if len(self._kept) > KEPT_BYTES:
            del self._kept[FIRST_BYTES : FIRST_BYTES + len(self._kept) - KEPT_BYTES]

    def begin_again(self) -> None:
        """The port was opened again: the device has its time to start once more."""
        self._begun = time.monotonic()

    @property
    def waited_enough(self) -> bool:
        """Whether there is nothing, and has been nothing for long enough."""
        return (
            self._nothing_after_s is not None
            and not self._over
            and not self._counts.samples
            and time.monotonic() - self._begun >= self._nothing_after_s
        )

    def check(self, gone: bool = False) -> None:
        """Raise DeviceError if what came is nonsense, for long enough or with nothing to follow (`gone`)."""
        if self._over:
            return
        counts = self._counts
        lasted_s = 0.0 if self._since is None else time.monotonic() - self._since
        judged = self._since is not None and (gone or lasted_s >= self._no_frame_after_s)
        if judged and not counts.samples:
            advice = self._format.advice(bytes(self._kept))
            if advice is not None and not gone:
                raise DeviceError(f"{self._port}: {advice}")
        believed = counts.frames > 0 and counts.junk_bytes < JUNK_SHARE * counts.bytes
        if judged and counts.bytes >= NONSENSE_BYTES:
            if not believed:
                self._raise_nonsense(lasted_s)
            if counts.samples or not counts.samples_before_info:
                self._over = True
                self._kept.clear()
                return
        if self.waited_enough and not gone:
            self._raise_nothing(believed)

    def _raise_nonsense(self, lasted_s: float) -> None:
        counts = self._counts
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

    def _raise_nothing(self, believed: bool) -> None:
        """No samples at all; or there are frames, and the device is only waited for."""
        seconds = f"{time.monotonic() - self._begun:.0f} s"
        if self._since is None:
            asked = " although it was asked to start" if self._format.start else ""
            advice = self._format.advice(b"") or (
                f"check that the device is switched on and charged, that this is its port (`ecgmoe-edge ports`), and "
                f"that it speaks {self._format.name} at {self._baud} baud (--protocol, --baud)."
            )
            raise DeviceError(f"{self._port} sent nothing within {seconds}{asked}: {advice}")
        if not believed:
            raise DeviceError(
                f"{self._port} sent no samples within {seconds}, only {describe_bytes(bytes(self._kept))}: check that "
                "the device is measuring, and --protocol and --baud."
            )
        if self._counts.samples_before_info:
            raise DeviceError(
                f"{self._port} sends {self._format.name} frames, but has not said its rate and leads within "
                f"{seconds}: reset the device, or give --fs where its protocol takes it."
            )
        self._over = True  # it speaks, and may begin to measure later
        self._kept.clear()

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

"""A serial device as an endless, ordered sequence of items. It survives unplugging and reports every loss.

A thread reads and decodes the port and never waits for the consumer. A bounded queue lies between them; if it
overflows, the gap is counted exactly. When the port goes away, the thread reports it and searches until it is back.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from ecgmoe_edge.errors import DeviceError, EcgmoeError, UsageError
from ecgmoe_edge.firmware_bridge.clock import StreamClock
from ecgmoe_edge.firmware_bridge.handshake import run_handshake
from ecgmoe_edge.firmware_bridge.item_queue import ItemQueue
from ecgmoe_edge.firmware_bridge.items import (
    Advice,
    DeviceRestart,
    EndOfStream,
    LinkItem,
    LinkReconnect,
    LinkStall,
    SampleLoss,
    Samples,
    Settings,
    StreamInfo,
)
from ecgmoe_edge.firmware_bridge.open_port import open_port
from ecgmoe_edge.firmware_bridge.ports import PortIdentity
from ecgmoe_edge.firmware_bridge.protocol_check import ProtocolCheck
from ecgmoe_edge.firmware_bridge.protocols import get_protocol
from ecgmoe_edge.firmware_bridge.recognition import RecognisedDevice

READ_TIMEOUT_S = 0.1
READ_BYTES = 65536
READ_PAUSE_S = 0.004  # pause between reads: small frames, up to a thousand a second, are then read in batches
REOPEN_EVERY_S = 0.1
SILENCE_REPORT_S = 0.2  # a silence at least this long is reported to the decoder: a short counter may have wrapped
START_EVERY_S = 5.0  # how often a silent device gets its start command again: it may have restarted on an open port
NO_SAMPLES_S = 12.0  # default of `no_samples_after_s`
MAX_RATE_ERROR = 0.03  # relative deviation of the sampling rate; more is no crystal tolerance
REPLAY_SPEED = 2.0  # a stream at least this many times as fast is a replay, not a wrong sampling rate
QUEUE_SAMPLES = 300_000  # per lead: 10 minutes at 500 Hz


class SerialLink:
    """Reads a serial device. Iterate over it for `LinkItem`s, oldest first, until the stream ends.

    The constructor opens the port and starts to read. Iteration raises only after all earlier items have been returned.

    Args:
        port: a device path, or a symlink to one (udev's /dev/serial/by-id, a virtual Holter's). After unplugging, a USB
            device is found by its serial number, even under another path; any other port is found by its path.
        protocol: a name from `protocol_names()`.
        baud: baud rate; None for the protocol's default.
        settings: what the user states about the device.
        opened: a port at which `recognise` has identified the protocol. It replaces port, protocol and baud; bytes that
            were received during recognition are decoded too.
        stall_after_s: silence after which a `LinkStall` comes. If the port goes away, it comes at once.
        no_frame_after_s: with bytes but no valid frame for this long, the protocol or baud rate counts as wrong.
        no_samples_after_s: a device that sends no samples and no valid frames within this time after its port was
            opened is given up. None: wait for ever.
        give_up_after_s: how long to wait for an unplugged port; None: for ever.
        wait_for_port_s: how long to wait for a port that does not exist yet.
        queue_samples: samples per lead that may wait for the consumer; at half of them a `ConsumerLag` comes.
        backpressure: if the queue is full, stop reading instead of dropping samples. Right for a replay, which can
            wait; wrong for a device, which cannot.

    Raises:
        DeviceError: by the constructor: the port is missing, busy, forbidden or not a serial port. By iteration: no or
            only invalid data arrived, the device uses a newer protocol version, it was given up, or it did not confirm
            the stop command.
        UsageError: unknown protocol, a required setting is missing, or `settings.leads` names more channels than the
            device has. By iteration if only the device's first frames tell its number of channels.
    """

    def __init__(
        self,
        port: str,
        *,
        protocol: str = "ecgmoe",
        baud: int | None = None,
        settings: Settings | None = None,
        opened: RecognisedDevice | None = None,
        stall_after_s: float = 2.0,
        no_frame_after_s: float = 5.0,
        no_samples_after_s: float | None = NO_SAMPLES_S,
        give_up_after_s: float | None = None,
        wait_for_port_s: float = 0.0,
        queue_samples: int = QUEUE_SAMPLES,
        backpressure: bool = False,
    ) -> None:
        self._format = get_protocol(opened.protocol if opened else protocol)
        self._port = opened.port if opened else port
        self._baud = (opened.baud if opened else baud) or self._format.baud
        self._stall_after_s = stall_after_s
        self._give_up_after_s = give_up_after_s
        self._backpressure = backpressure
        self._lead_names = (settings or Settings()).leads
        self._decoder = self._format.make_decoder(settings or Settings())
        self._protocol_check = ProtocolCheck(
            self._port, self._format, self._baud, self._decoder.counts, no_frame_after_s, no_samples_after_s
        )
        self._queue = ItemQueue(queue_samples, warn=not backpressure)
        self._info: StreamInfo | None = None
        self._reconnects = self._stalls = 0
        self._away_s = 0.0
        self._stopping = False  # a plain bool, because signal handlers set it: a lock could deadlock there
        self._ended = False  # the device has ended the stream
        self._failure: EcgmoeError | None = None
        self._rate_checked = False
        self._stalled = False
        self._clock = StreamClock()
        if opened is None:
            deadline = time.monotonic() + wait_for_port_s
            while not os.path.exists(port) and time.monotonic() < deadline:
                time.sleep(REOPEN_EVERY_S / 2)
        self._identity = PortIdentity.of(self._port)
        self._serial = opened.serial if opened else open_port(port, self._baud, READ_TIMEOUT_S)
        self._serial.timeout = READ_TIMEOUT_S
        self._last_samples_at = self._last_bytes_at = self._started_at = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, args=(opened.received if opened else b"",), name=f"serial link {self._port}", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[LinkItem]:
        while True:
            # Read this before the queue: a thread that has ended puts no more items.
            finished = not self._thread.is_alive()
            item = self._queue.get(timeout_s=0.0 if finished else READ_TIMEOUT_S)
            if item is not None:
                yield item
            elif finished:
                break
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> SerialLink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stop(self) -> None:
        """Stop reading. Items read so far are still returned. Returns at once; safe in a signal handler."""
        self._stopping = True

    def close(self) -> None:
        """Stop reading, send the stop command, and release the port. Safe to call twice."""
        self.stop()
        self._thread.join(timeout=15.0)

    def stats(self) -> dict[str, Any]:
        """Statistics so far, JSON-ready. Sample counts are per lead, times in s."""
        drift_ppm = self._clock.drift_ppm
        return {
            "port": self._port,
            "protocol": self._format.name,
            "baud": self._baud,
            "device": self._info.device if self._info else None,
            "rate_hz": self._info.fs if self._info else None,
            "leads": list(self._info.leads) if self._info else [],
            **self._decoder.counts.as_dict(),
            "lost_in_host": self._queue.lost_samples,
            "queue_high_water": self._queue.high_water,
            "stalls": self._stalls,
            "reconnects": self._reconnects,
            "away_s": round(self._away_s, 3),
            "drift_ppm": None if drift_ppm is None else round(drift_ppm, 1),
            "limits": self._format.limits,
        }

    # All methods below run in the reader thread.

    def _run(self, received: bytes) -> None:
        try:
            self._receive(received)
            self._start_device()
            while not self._stopping and not self._ended:
                try:
                    self._receive(self._serial.read(max(1, min(self._serial.in_waiting, READ_BYTES))))
                    if not self._serial.in_waiting:
                        time.sleep(READ_PAUSE_S)
                except OSError:  # SerialException is one
                    self._reconnect()
                    continue
                self._protocol_check.check()
                self._check_silence()
        except EcgmoeError as error:
            self._failure = error
        try:
            self._stop_device()
        except DeviceError as error:
            self._failure = self._failure or error
        finally:
            if not self._ended:
                self._put_all(self._decoder.interrupted())
            with contextlib.suppress(OSError):  # the port may be gone already
                self._serial.close()
            self._identity.release()

    def _start_device(self) -> None:
        """Run the start handshake."""
        self._started_at = time.monotonic()
        with contextlib.suppress(OSError):  # if the port is gone, the next read reports it
            run_handshake(self._serial, self._format.start, self._receive, self._start_cancelled)

    def _start_cancelled(self) -> bool:
        """Whether the start handshake is no longer useful."""
        return self._stopping or self._ended or self._protocol_check.timed_out

    def _stop_device(self) -> None:
        """Run the stop handshake. Raises DeviceError if a device that has sent valid frames does not confirm it."""
        try:
            receive = self._receive if self._failure is None else _discard
            stopped = run_handshake(self._serial, self._format.stop, receive, lambda: False)
        except OSError:  # the port is gone
            return
        if not stopped and self._decoder.counts.frames and not self._ended:
            raise DeviceError(
                f"The device at {self._port} did not confirm that it stopped. It may continue to send and drain its "
                "battery: switch it off or unplug it."
            )

    def _receive(self, data: bytes) -> None:
        """Decode bytes and queue the items."""
        if not data or self._ended:
            return
        now = time.monotonic()
        if now - self._last_bytes_at >= SILENCE_REPORT_S:
            self._decoder.silent(now - self._last_bytes_at)
        self._last_bytes_at = now
        self._protocol_check.add(data)
        items = self._decoder.feed(data)
        # A decoder of another package need not have this attribute.
        incompatibility = getattr(self._decoder, "incompatibility", None)
        if incompatibility is not None:
            raise DeviceError(f"{self._port}: {incompatibility}")
        self._put_all(items)

    def _put_all(self, items: Sequence[LinkItem]) -> None:
        for item in items:
            if isinstance(item, Samples):
                self._wait_for_room(item.values.shape[1])
                self._last_samples_at = time.monotonic()
                self._stalled = False
                reading = self._clock.on_samples(item, self._info.fs) if self._info is not None else None
                if reading is not None:
                    self._queue.put(reading)
                self._check_rate()
            elif isinstance(item, StreamInfo):
                self._info = item
                self._check_names(item)
            elif isinstance(item, DeviceRestart) or _has_unknown_length(item):
                self._clock.on_interruption(device_restarted=True)
            elif isinstance(item, EndOfStream):
                self._ended = True
            self._queue.put(item)

    def _wait_for_room(self, n: int) -> None:
        """With back-pressure: wait until the consumer has made room for `n` samples."""
        if not self._backpressure or self._queue.has_room(n):
            return
        while not self._queue.has_room(n) and not self._stopping:
            time.sleep(0.01)
        self._last_bytes_at = time.monotonic()  # the device was not silent during this wait

    def _check_names(self, info: StreamInfo) -> None:
        """Raise UsageError if the user has named more channels than the device has."""
        wanted = [name for name in self._lead_names or () if name != "-"]
        if len(info.leads) < max(1, len(wanted)):
            raise UsageError(
                f"--leads {','.join(self._lead_names or ())} names more channels than the device at {self._port} has "
                f"(only {len(info.leads)} of them). Name the first channels; - omits a channel."
            )

    def _check_rate(self) -> None:
        """Send one Advice if the sampling rate differs from what the device or the user states."""
        if self._rate_checked or self._info is None:
            return
        ratio = self._clock.rate_ratio
        if ratio is None:
            return
        self._rate_checked = True
        if abs(ratio - 1.0) > MAX_RATE_ERROR and ratio < REPLAY_SPEED:
            self._queue.put(
                Advice(
                    f"{self._port} sends {ratio * self._info.fs:.1f} samples a second by this machine's clock, not "
                    f"{self._info.fs:g}: heart rates and RR intervals are wrong by the same factor. Correct --fs, "
                    "unless this is a replay that does not run in real time."
                )
            )

    def _check_silence(self) -> None:
        now = time.monotonic()
        if now - self._last_samples_at >= self._stall_after_s:
            self._report_stall()
            if now - max(self._last_bytes_at, self._started_at) >= START_EVERY_S:
                self._start_device()

    def _report_stall(self) -> None:
        if not self._stalled:
            self._stalled = True
            self._stalls += 1
            self._queue.put(LinkStall(time.monotonic() - self._last_samples_at))

    def _reconnect(self) -> None:
        """Wait for the device to come back. Returns once its port is open again, or when the link is being stopped."""
        gone_at = time.monotonic()
        self._protocol_check.check(gone=True)
        self._report_stall()
        with contextlib.suppress(OSError):
            self._serial.close()
        self._put_all(self._decoder.interrupted())
        while not self._stopping:
            time.sleep(REOPEN_EVERY_S)
            away_s = time.monotonic() - gone_at
            if self._reopened():
                self._reconnects += 1
                self._away_s += away_s
                self._clock.on_interruption()
                self._queue.put(LinkReconnect(away_s, self._port))
                self._protocol_check.restart()
                self._start_device()
                return
            if self._give_up_after_s is not None and away_s >= self._give_up_after_s:
                raise DeviceError(
                    f"{self._port} went away and did not come back within {self._give_up_after_s:g} s: plug the "
                    "device in and start again."
                )

    def _reopened(self) -> bool:
        """Open the device's port if it is back. False while it is gone or another program holds it."""
        port = self._identity.current_path()
        if port is None:
            return False
        try:
            identity = PortIdentity.of(port)
            self._serial = open_port(port, self._baud, READ_TIMEOUT_S)
        except DeviceError:
            return False
        self._port, self._identity = port, identity
        return True


def _discard(_: bytes) -> None:
    """Ignores the bytes of a device that was given up and is only being stopped."""


def _has_unknown_length(item: LinkItem) -> bool:
    """Whether the item is a loss whose length is unknown or only a lower bound."""
    return isinstance(item, SampleLoss) and (item.samples is None or item.at_least)

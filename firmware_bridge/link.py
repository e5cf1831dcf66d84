"""A serial device as an endless, ordered sequence of items: it survives unplugging and hides no loss.

A thread reads the port and decodes, and never waits for the consumer; between the two lies a bounded queue whose
overflow is an exact gap. When the port goes away the thread says so and tries the same path until it is back.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.firmware_bridge.item_queue import ItemQueue
from ecgmoe_edge.firmware_bridge.items import EndOfStream, LinkItem, Reconnected, Samples, Stalled, StreamInfo
from ecgmoe_edge.firmware_bridge.open_port import PortIdentity, open_port
from ecgmoe_edge.firmware_bridge.protocols import get_protocol

READ_TIMEOUT_S = 0.1
READ_BYTES = 65536
REOPEN_EVERY_S = 0.1
NONSENSE_BYTES = 256  # fewer may be a message at boot
QUEUE_SAMPLES = 300_000  # per lead: 10 minutes at 500 Hz


class SerialLink:
    """Iterate over it for `LinkItem`s, oldest first, until the device ends the stream or `stop` is called.

    port: a device path; a symlink (udev's /dev/serial/by-id, a virtual Holter's) survives replugging.
    protocol: a name from `protocol_names()`. baud: None for the protocol's own.
    stall_after_s: silence after which `Stalled` is said; a port that goes away says it at once.
    no_frame_after_s: bytes without any valid frame for so long are taken for a wrong protocol or baud rate.
    give_up_after_s: how long an unplugged port is waited for; None for ever.
    wait_for_port_s: how long a port that does not exist yet is waited for.
    queue_samples: samples per lead that may wait for the consumer.
    hold_back: a full queue stops the reading instead of losing samples; right for a replay, which can wait, wrong for a
    device, which cannot.

    The constructor opens the port and starts reading. It raises DeviceError if the port is missing, busy, forbidden or
    no serial port, UsageError for an unknown protocol. Iterating raises DeviceError, after all items that came before,
    if only junk arrives, if the device speaks a newer version of the protocol, or if it was given up.
    """

    def __init__(
        self,
        port: str,
        *,
        protocol: str = "ecgmoe",
        baud: int | None = None,
        stall_after_s: float = 2.0,
        no_frame_after_s: float = 5.0,
        give_up_after_s: float | None = None,
        wait_for_port_s: float = 0.0,
        queue_samples: int = QUEUE_SAMPLES,
        hold_back: bool = False,
    ) -> None:
        self._format = get_protocol(protocol)
        self._port = port
        self._baud = baud or self._format.baud
        self._stall_after_s = stall_after_s
        self._no_frame_after_s = no_frame_after_s
        self._give_up_after_s = give_up_after_s
        self._hold_back = hold_back
        self._decoder = self._format.make_decoder()
        self._queue = ItemQueue(queue_samples)
        self._info: StreamInfo | None = None
        self._reconnects = self._stalls = 0
        self._away_s = 0.0
        self._stopping = False  # plain bool: set from signal handlers, where taking a lock could deadlock
        self._failure: DeviceError | None = None
        self._stalled = False
        self._first_bytes_at: float | None = None
        deadline = time.monotonic() + wait_for_port_s
        while not os.path.exists(port) and time.monotonic() < deadline:
            time.sleep(REOPEN_EVERY_S / 2)
        self._identity = PortIdentity.of(port)
        self._serial = open_port(port, self._baud, READ_TIMEOUT_S, self._format.start)
        self._quiet_since = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"serial link {port}", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[LinkItem]:
        while True:
            finished = not self._thread.is_alive()  # asked before the queue: nothing is put after it
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
        """Read no more; what was read is still given out. Returns at once and is safe in a signal handler."""
        self._stopping = True

    def close(self) -> None:
        """Stop, tell the device, and release the port. Safe to call twice."""
        self.stop()
        self._thread.join(timeout=5.0)

    def stats(self) -> dict[str, Any]:
        """Counts so far, JSON-ready; sample counts are per lead, times in s."""
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
        }

    # What follows runs in the reader thread.

    def _run(self) -> None:
        try:
            while not self._stopping:
                try:
                    data = self._serial.read(max(1, min(self._serial.in_waiting, READ_BYTES)))
                except OSError:  # SerialException is one
                    self._reopen()
                    continue
                if self._take(data):
                    break
                self._doubt()
                if time.monotonic() - self._quiet_since >= self._stall_after_s:
                    self._say_stalled()
        except DeviceError as error:
            self._failure = error
        finally:
            self._release()

    def _take(self, data: bytes) -> bool:
        """Decode and queue; True when the device has ended the stream."""
        for item in self._decoder.feed(data) if data else ():
            if isinstance(item, Samples):
                while self._hold_back and not self._queue.has_room(item.values.shape[1]) and not self._stopping:
                    time.sleep(0.01)
                self._quiet_since = time.monotonic()
                self._stalled = False
            elif isinstance(item, StreamInfo):
                self._info = item
            self._queue.put(item)
            if isinstance(item, EndOfStream):
                return True
        return False

    def _doubt(self, gone: bool = False) -> None:
        """Raise DeviceError if what came cannot be understood, and that for long enough or with nothing to follow."""
        counts = self._decoder.counts
        if counts.frames or not counts.bytes:
            return
        if counts.newer_version:
            raise DeviceError(
                f"{self._port} sends a newer version of the {self._format.name} protocol than this program knows: "
                "update ecgmoe-edge."
            )
        now = time.monotonic()
        self._first_bytes_at = self._first_bytes_at or now
        lasted_s = now - self._first_bytes_at
        if counts.bytes >= NONSENSE_BYTES and (gone or lasted_s >= self._no_frame_after_s):
            raise DeviceError(
                f"{self._port} sent {counts.bytes} bytes in {lasted_s:.1f} s, and none of them is a valid "
                f"{self._format.name} frame at {self._baud} baud: check --protocol and --baud, and that this is the "
                "right port."
            )

    def _say_stalled(self) -> None:
        if not self._stalled:
            self._stalled = True
            self._stalls += 1
            self._queue.put(Stalled(time.monotonic() - self._quiet_since))

    def _reopen(self) -> None:
        """Wait for the port to come back; returns with it open, or when stopping."""
        gone_at = time.monotonic()
        self._doubt(gone=True)
        self._say_stalled()
        self._release()
        self._decoder.interrupted()
        while not self._stopping:
            time.sleep(REOPEN_EVERY_S)
            away_s = time.monotonic() - gone_at
            if self._identity.may_be_back():
                identity = PortIdentity.of(self._port)
                try:
                    self._serial = open_port(self._port, self._baud, READ_TIMEOUT_S, self._format.start)
                except DeviceError:
                    pass  # not back yet, or held by another program for a moment
                else:
                    self._identity = identity
                    self._reconnects += 1
                    self._away_s += away_s
                    self._queue.put(Reconnected(away_s, self._port))
                    return
            if self._give_up_after_s is not None and away_s >= self._give_up_after_s:
                raise DeviceError(
                    f"{self._port} went away and did not come back within {self._give_up_after_s:g} s: plug the "
                    "device in again and start anew."
                )

    def _release(self) -> None:
        with contextlib.suppress(OSError):  # it may be gone already
            if self._serial.is_open and self._format.stop:
                self._serial.write(self._format.stop)
        with contextlib.suppress(OSError):
            self._serial.close()

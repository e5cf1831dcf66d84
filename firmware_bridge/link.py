"""A serial device as an endless, ordered sequence of items: it survives unplugging and hides no loss.

A thread reads the port and decodes, and never waits for the consumer; between the two lies a bounded queue whose
overflow is an exact gap. When the device goes away the thread says so and looks for it until it is back.
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
from ecgmoe_edge.firmware_bridge.conversation import converse
from ecgmoe_edge.firmware_bridge.doubt import Doubt
from ecgmoe_edge.firmware_bridge.item_queue import ItemQueue
from ecgmoe_edge.firmware_bridge.items import (
    Advice,
    DeviceRestart,
    EndOfStream,
    LinkItem,
    Lost,
    Reconnected,
    Samples,
    Settings,
    Stalled,
    StreamInfo,
)
from ecgmoe_edge.firmware_bridge.open_port import open_port
from ecgmoe_edge.firmware_bridge.ports import PortIdentity
from ecgmoe_edge.firmware_bridge.protocols import get_protocol
from ecgmoe_edge.firmware_bridge.recognition import Recognised

READ_TIMEOUT_S = 0.1
READ_BYTES = 65536
GATHER_S = 0.004  # so that a thousand small frames a second are not a thousand turns
REOPEN_EVERY_S = 0.1
SILENCE_S = 0.2  # from which on a decoder is told of it: a short counter may have gone round
START_AGAIN_EVERY_S = 5.0  # to a silent device: it may have restarted behind a port that stayed
NOTHING_S = 12.0  # after which a device that has sent no samples is given up
WRONG_RATE = 0.03  # from which on a rate is no drift of a crystal
REPLAYED = 2.0  # times as fast is a replay, and no device with another rate
QUEUE_SAMPLES = 300_000  # per lead: 10 minutes at 500 Hz


class SerialLink:
    """Iterate over it for `LinkItem`s, oldest first, until the device ends the stream or `stop` is called.

    port: a device path. A USB device is found again by its serial number, whatever its port is called then; another
    port by the same path, which may be a symlink (udev's /dev/serial/by-id, a virtual Holter's).
    protocol: a name from `protocol_names()`. baud: None for the protocol's own. settings: what the device does not say.
    opened: a port at which `recognise` has found the protocol; what it heard there is not lost. Overrules port,
    protocol and baud.
    stall_after_s: silence after which `Stalled` is said; a port that goes away says it at once.
    no_frame_after_s: bytes without any valid frame for so long are taken for a wrong protocol or baud rate.
    nothing_after_s: a device that has sent no samples for so long since its port was opened, and nothing that could
    become some, is given up with what to do; None for never.
    give_up_after_s: how long an unplugged port is waited for; None for ever.
    wait_for_port_s: how long a port that does not exist yet is waited for.
    queue_samples: samples per lead that may wait for the consumer; `FellBehind` is said when half of them do.
    hold_back: a full queue stops the reading instead of losing samples; right for a replay, which can wait, wrong for a
    device, which cannot.

    The constructor opens the port and starts reading. It raises DeviceError if the port is missing, busy, forbidden or
    no serial port, UsageError for an unknown protocol, one that needs more settings, or more names than the device has
    channels. Iterating raises DeviceError, after all items that came before, if nothing or only junk arrives, if the
    device speaks a newer version of the protocol, if it was given up, or if it did not confirm that it stopped; and
    UsageError where only the device's first frames tell that it has fewer channels than `settings.leads` names.
    """

    def __init__(
        self,
        port: str,
        *,
        protocol: str = "ecgmoe",
        baud: int | None = None,
        settings: Settings | None = None,
        opened: Recognised | None = None,
        stall_after_s: float = 2.0,
        no_frame_after_s: float = 5.0,
        nothing_after_s: float | None = NOTHING_S,
        give_up_after_s: float | None = None,
        wait_for_port_s: float = 0.0,
        queue_samples: int = QUEUE_SAMPLES,
        hold_back: bool = False,
    ) -> None:
        self._format = get_protocol(opened.protocol if opened else protocol)
        self._port = opened.port if opened else port
        self._baud = (opened.baud if opened else baud) or self._format.baud
        self._stall_after_s = stall_after_s
        self._give_up_after_s = give_up_after_s
        self._hold_back = hold_back
        self._names = (settings or Settings()).leads
        self._decoder = self._format.make_decoder(settings or Settings())
        self._doubt = Doubt(
            self._port, self._format, self._baud, self._decoder.counts, no_frame_after_s, nothing_after_s
        )
        self._queue = ItemQueue(queue_samples, warn=not hold_back)
        self._info: StreamInfo | None = None
        self._reconnects = self._stalls = 0
        self._away_s = 0.0
        self._stopping = False  # plain bool: set from signal handlers, where taking a lock could deadlock
        self._ended = False  # by the device
        self._failure: EcgmoeError | None = None
        self._rate_judged = False
        self._stalled = False
        self._clock = StreamClock()
        if opened is None:
            deadline = time.monotonic() + wait_for_port_s
            while not os.path.exists(port) and time.monotonic() < deadline:
                time.sleep(REOPEN_EVERY_S / 2)
        self._identity = PortIdentity.of(self._port)
        self._serial = opened.serial if opened else open_port(port, self._baud, READ_TIMEOUT_S)
        self._serial.timeout = READ_TIMEOUT_S
        self._quiet_since = self._bytes_at = self._started_at = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, args=(opened.heard if opened else b"",), name=f"serial link {self._port}", daemon=True
        )
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
        self._thread.join(timeout=15.0)

    def stats(self) -> dict[str, Any]:
        """Counts so far, JSON-ready; sample counts are per lead, times in s."""
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

    # What follows runs in the reader thread.

    def _run(self, heard: bytes) -> None:
        try:
            self._take(heard)
            self._begin()
            while not self._stopping and not self._ended:
                try:
                    self._take(self._serial.read(max(1, min(self._serial.in_waiting, READ_BYTES))))
                    if not self._serial.in_waiting:
                        time.sleep(GATHER_S)
                except OSError:  # SerialException is one
                    self._reopen()
                    continue
                self._doubt.check()
                self._watch_silence()
        except EcgmoeError as error:
            self._failure = error
        try:
            self._finish()
        except DeviceError as error:
            self._failure = self._failure or error
        finally:
            if not self._ended:
                self._put_all(self._decoder.interrupted())
            with contextlib.suppress(OSError):  # it may be gone already
                self._serial.close()
            self._identity.release()

    def _begin(self) -> None:
        """Tell the device to start."""
        self._started_at = time.monotonic()
        with contextlib.suppress(OSError):  # gone already: the next read says so too
            converse(self._serial, self._format.start, self._take, self._has_enough)

    def _has_enough(self) -> bool:
        """Whether it makes no sense to go on talking to the device."""
        return self._stopping or self._ended or self._doubt.waited_enough

    def _finish(self) -> None:
        """Tell the device to stop. Raises DeviceError if one that confirms it does not, and was heard before."""
        try:
            take = self._take if self._failure is None else _nowhere
            stopped = converse(self._serial, self._format.stop, take, lambda: False)
        except OSError:  # it is away
            return
        if not stopped and self._decoder.counts.frames and not self._ended:
            raise DeviceError(
                f"The device at {self._port} did not confirm that it stopped: it may go on sending, and empty its "
                "battery, until it is switched off or unplugged."
            )

    def _take(self, data: bytes) -> None:
        """Decode and queue."""
        if not data or self._ended:
            return
        now = time.monotonic()
        if now - self._bytes_at >= SILENCE_S:
            self._decoder.silent(now - self._bytes_at)
        self._bytes_at = now
        self._doubt.heard(data)
        items = self._decoder.feed(data)
        misfit = getattr(self._decoder, "misfit", None)  # of ours; a protocol from elsewhere need not have it
        if misfit is not None:
            raise DeviceError(f"{self._port}: {misfit}")
        self._put_all(items)

    def _put_all(self, items: Sequence[LinkItem]) -> None:
        for item in items:
            if isinstance(item, Samples):
                self._wait_for_room(item.values.shape[1])
                self._quiet_since = time.monotonic()
                self._stalled = False
                reading = self._clock.arrived(item, self._info.fs) if self._info is not None else None
                if reading is not None:
                    self._queue.put(reading)
                self._judge_rate()
            elif isinstance(item, StreamInfo):
                self._info = item
                self._check_names(item)
            elif isinstance(item, DeviceRestart) or _is_vague(item):
                self._clock.broken_off(device_restarted=True)
            elif isinstance(item, EndOfStream):
                self._ended = True
            self._queue.put(item)

    def _wait_for_room(self, n: int) -> None:
        """Where the link holds back: until the consumer has made room for `n` samples."""
        if not self._hold_back or self._queue.has_room(n):
            return
        while not self._queue.has_room(n) and not self._stopping:
            time.sleep(0.01)
        self._bytes_at = time.monotonic()  # it was not the device that was silent

    def _check_names(self, info: StreamInfo) -> None:
        """Raise UsageError where the user has named channels that the device does not have."""
        wanted = [name for name in self._names or () if name != "-"]
        if len(info.leads) < max(1, len(wanted)):
            raise UsageError(
                f"--leads {','.join(self._names or ())} names more channels than the device at {self._port} has: of "
                f"those that it names, {len(info.leads)} is there. Name the first channels alone, - for one to leave "
                "out."
            )

    def _judge_rate(self) -> None:
        """Say once that the device has another rate than it, or the user, says."""
        if self._rate_judged or self._info is None:
            return
        times = self._clock.times_as_fast
        if times is None:
            return
        self._rate_judged = True
        if abs(times - 1.0) > WRONG_RATE and times < REPLAYED:
            self._queue.put(
                Advice(
                    f"{self._port} sends {times * self._info.fs:.1f} samples a second by this machine's clock, not "
                    f"{self._info.fs:g}: heart rates and RR intervals are wrong by as much. Correct the rate (--fs), "
                    "unless it is a replay that does not run in real time."
                )
            )

    def _watch_silence(self) -> None:
        now = time.monotonic()
        if now - self._quiet_since >= self._stall_after_s:
            self._say_stalled()
            if now - max(self._bytes_at, self._started_at) >= START_AGAIN_EVERY_S:
                self._begin()

    def _say_stalled(self) -> None:
        if not self._stalled:
            self._stalled = True
            self._stalls += 1
            self._queue.put(Stalled(time.monotonic() - self._quiet_since))

    def _reopen(self) -> None:
        """Wait for the device to come back; returns with its port open, or when stopping."""
        gone_at = time.monotonic()
        self._doubt.check(gone=True)
        self._say_stalled()
        with contextlib.suppress(OSError):
            self._serial.close()
        self._put_all(self._decoder.interrupted())
        while not self._stopping:
            time.sleep(REOPEN_EVERY_S)
            away_s = time.monotonic() - gone_at
            if self._opened_again():
                self._reconnects += 1
                self._away_s += away_s
                self._clock.broken_off()
                self._queue.put(Reconnected(away_s, self._port))
                self._doubt.begin_again()
                self._begin()
                return
            if self._give_up_after_s is not None and away_s >= self._give_up_after_s:
                raise DeviceError(
                    f"{self._port} went away and did not come back within {self._give_up_after_s:g} s: plug the "
                    "device in again and start anew."
                )

    def _opened_again(self) -> bool:
        """Open the device's port if it is back; False while it is not, or while another program holds it."""
        port = self._identity.where_now()
        if port is None:
            return False
        try:
            identity = PortIdentity.of(port)
            self._serial = open_port(port, self._baud, READ_TIMEOUT_S)
        except DeviceError:
            return False
        self._port, self._identity = port, identity
        return True


def _nowhere(_: bytes) -> None:
    """Takes what a device sends that was given up, and only has to stop."""


def _is_vague(item: LinkItem) -> bool:
    """Whether nobody knows how many samples are missing here."""
    return isinstance(item, Lost) and (item.samples is None or item.at_least)

"""A Holter recorder made of a recording: it plays samples through a real pseudo terminal in any of the wire formats.

To the reading program it is a serial device, so everything from the port to the events runs as it would with hardware.
It also misbehaves on request, repeatably, and keeps count of what it withheld.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import SignalError
from ecgmoe_edge.firmware_bridge import frame
from ecgmoe_edge.firmware_bridge.audience import Audience
from ecgmoe_edge.firmware_bridge.formats.ecgmoe import EcgmoeDevice
from ecgmoe_edge.firmware_bridge.items import Encoder, Settings, StreamInfo
from ecgmoe_edge.firmware_bridge.protocols import get_protocol
from ecgmoe_edge.firmware_bridge.pty_device import PtyDevice
from ecgmoe_edge.streaming.signal.resampling import resample_blocks

FRAME_S = 0.05  # of signal in a frame, where it fits
UNPLUG_AT_LEAST_S = 0.3  # wall time, so that a reader can notice at any speed
LINGER_S = 10.0  # for how long the end waits for a reader to take the last bytes
ALL_READ_S = 1.0  # with nothing left to read, the reader has had them


@dataclass(frozen=True)
class Faults:
    """What goes wrong, and when. Times at which (`..._at_s`) are in seconds of the recording."""

    drop: float = 0.0  # share of sample frames that are never sent
    corrupt: float = 0.0  # share of sample frames with one byte changed
    stall_at_s: tuple[float, ...] = ()
    stall_s: float = 3.0  # of wall time; nothing is lost
    unplug_at_s: tuple[float, ...] = ()
    unplug_s: float = 2.0  # of the recording; what falls into it is lost, in whole frames
    jitter_s: float = 0.0  # of wall time, at most, by which each frame comes late; their order stays
    restart_on_replug: bool = False  # the device counts anew after it was plugged in again
    seed: int = 0


@dataclass
class ReplayTotals:
    """What was played. Samples are per lead."""

    samples_sent: int = 0  # intact
    frames_sent: int = 0
    samples_dropped: int = 0  # by `drop`, while unplugged, or because nobody listened
    frames_dropped: int = 0
    samples_corrupted: int = 0
    samples_clipped: int = 0  # beyond what the device can say, in some lead, and set to its limit; dropped ones too
    frames_corrupted: int = 0
    stalls: int = 0
    unplugs: int = 0


class VirtualHolter:
    """Plays blocks of samples in mV, float64 (leads, n), at `fs` Hz; NaN is sent as "no value".

    link: path of a symlink to make as the port's name. protocol, settings: what the device speaks; one of another
    rate gets the recording resampled, and of more or fewer leads as many as it has. speed: 1 real time, 20 twenty times
    as fast, 0 as fast as the reader takes it. wait_for_reader: hold the recording while nobody has the port open, so
    that nothing is lost; without it the recording goes on unheard, as a device does. leave_after_s: end where a reader
    came, left within seconds, as one does that refuses the recording, and no other came for so long; None for never.
    Of "ecgmoe" alone: picovolts_per_lsb, the step to which samples are rounded (100,000 pV = 0.1 uV, range +-838 mV);
    samples_per_frame; run, first_index, the counters to begin with (a run of its own by default); device, its name.
    Raises SignalError for a rate, leads or blocks that cannot be sent, UsageError for a protocol that does not exist,
    DeviceError if the link cannot be made.
    """

    def __init__(
        self,
        blocks: Iterable[NDArray[np.float64]],
        fs: float | Fraction,
        leads: Sequence[str],
        *,
        link: str | os.PathLike[str] | None = None,
        protocol: str = "ecgmoe",
        settings: Settings | None = None,
        speed: float = 1.0,
        picovolts_per_lsb: int = 100_000,
        samples_per_frame: int | None = None,
        wait_for_reader: bool = True,
        leave_after_s: float | None = None,
        faults: Faults | None = None,
        run: int | None = None,
        first_index: int = 0,
        device: str = "virtual-holter",
    ) -> None:
        if speed < 0:
            raise SignalError(f"A replay cannot run at speed {speed:g}: give a positive number, or 0 for no waiting.")
        if not math.isfinite(fs) or fs <= 0:
            raise SignalError(f"A recording at {fs} Hz cannot be replayed: state its sampling rate.")
        rate = Fraction(fs).limit_denominator(1_000_000)
        self._leads = tuple(leads)
        self._settings = settings or Settings()
        self._protocol = get_protocol(protocol)
        if protocol == "ecgmoe":
            info = StreamInfo(rate, self._leads, (picovolts_per_lsb,) * len(leads), device)
            wanted = samples_per_frame or max(1, round(float(rate) * FRAME_S))
            self._encoder: Encoder = _ecgmoe_device(info, _new_run() if run is None else run, first_index, wanted)
            self._blocks = blocks
        else:
            self._encoder = self._protocol.make_encoder(self._settings)
            same = self._encoder.rate == rate
            self._blocks = blocks if same else resample_blocks(self._checked(blocks), rate, self._encoder.rate)
        self._per_frame = self._encoder.per_frame
        self._fs = float(self._encoder.rate)
        self._speed = speed
        self._wait_for_reader = wait_for_reader
        self._leave_after_s = leave_after_s
        self.refused = False  # it ended because its reader left and none came
        self._faults = faults or Faults()
        self._chance = np.random.default_rng(self._faults.seed)
        self._lateness = np.random.default_rng([self._faults.seed, 1])  # apart: what is lost stays the same
        self._stall_at_s = sorted(self._faults.stall_at_s)
        self._unplug_at_s = sorted(self._faults.unplug_at_s)
        self.totals = ReplayTotals()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._playing = False
        self._played = 0  # samples of the recording, sent or not
        self._away_until = 0  # samples before this one fall into an unplugging
        self._started_at = 0.0  # when the first sample was due, moved by every pause
        self._device = PtyDevice(link)
        self._audience = Audience(self._device, self._encoder, self._stopped)

    @property
    def port(self) -> str:
        """The path that a reader opens."""
        return self._device.port

    @property
    def reader_options(self) -> str:
        """What `ecgmoe-edge stream` must be told to read this device."""
        told = {"--fs": f"{float(self._encoder.rate):g}", "--uv-per-lsb": f"{self._encoder.uv_per_lsb:g}"}
        return " ".join(
            [f"--protocol {self._protocol.name}", *(f"{need} {told[need]}" for need in self._protocol.needs)]
        )

    def play(self) -> ReplayTotals:
        """Play to the end, or until `stop`; then the port vanishes."""
        self._playing = True
        try:
            self._play()
        finally:
            self._device.unplug()
            self._playing = False
        return self.totals

    def start(self) -> None:
        """Play in a thread."""
        self._thread = threading.Thread(target=self._play_in_thread, name="virtual holter", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for a replay in a thread to end; False if it has not. Raises what the replay raised."""
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return False
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return True

    def stop(self) -> None:
        """Break off as a device does whose plug is pulled: no end frame, and the port vanishes.

        A replay in a thread has ended when this returns. `play` itself may be stopped from a signal handler.
        """
        self._stopped.set()
        if self._thread is None and not self._playing:
            self._device.unplug()
        self.join(5.0)

    def __enter__(self) -> VirtualHolter:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _play_in_thread(self) -> None:
        try:
            self.play()
        except BaseException as error:  # noqa: BLE001 - handed to whoever joins
            self._failure = error

    def _play(self) -> None:
        self._started_at = time.monotonic()
        next_info = 0
        for values in self._frames():
            self._disturb()
            n = values.shape[1]
            if self._played < self._away_until:
                if not self._faults.restart_on_replug:
                    self._encoder.encode(values)  # measured, but there is nowhere to send it
                self._count_dropped(n)
            else:
                self._pace()
                self._await_reader()
                if self.refused:
                    return
                if self._audience.joined or self._played >= next_info:
                    boot = self._encoder.boot() if self._audience.joined else b""
                    self._audience.joined = False
                    self._send(boot + self._encoder.announce())
                    next_info = self._played + round(self._fs)
                self._send_samples(values)
            self._played += n
            if self._stopped.is_set():
                return
        self._await_reader()
        if not self.refused and self._send(self._encoder.end()):
            self._linger()

    def _frames(self) -> Iterator[NDArray[np.float64]]:
        """The blocks as mV (leads, n), cut to the length of a frame; the last may be shorter."""
        rest = np.empty((len(self._leads), 0))
        for block in self._checked(self._blocks):
            rest = np.concatenate([rest, block], axis=1)
            whole = rest.shape[1] - rest.shape[1] % self._per_frame
            for first in range(0, whole, self._per_frame):
                yield rest[:, first : first + self._per_frame]
            rest = rest[:, whole:]
        if rest.shape[1]:
            yield rest

    def _checked(self, blocks: Iterable[NDArray[np.float64]]) -> Iterator[NDArray[np.float64]]:
        """The blocks, if they are of this recording's leads."""
        for block in blocks:
            block = np.asarray(block, dtype=np.float64)
            if block.ndim != 2 or len(block) != len(self._leads):
                raise SignalError(
                    f"A block of shape {block.shape} does not fit {len(self._leads)} lead(s) "
                    f"{', '.join(self._leads)}: give arrays of shape (leads, samples) in mV."
                )
            yield block

    def _await_reader(self) -> None:
        if not self._wait_for_reader:
            return
        since = time.monotonic()
        while not self.refused and not self._audience.listening() and not self._stopped.wait(0.005):
            for_s = self._audience.refused_for_s()
            self.refused = self._leave_after_s is not None and for_s is not None and for_s >= self._leave_after_s
        self._started_at += time.monotonic() - since

    def _linger(self) -> None:
        """Keep the port until the reader has the end frame: pulling the plug would lose what it has not read yet.

        A reader that has it says stop, or closes the port. From one that does neither, nothing left to read for a
        while has to do.
        """
        deadline, read_at = time.monotonic() + LINGER_S, time.monotonic()
        while self._audience.listening() and not self._stopped.wait(0.02):
            now = time.monotonic()
            if self._device.unread():
                read_at = now
            if now >= min(deadline, read_at + ALL_READ_S):
                return

    def _pace(self) -> None:
        """Wait until the next sample is due, and for as long as the link holds it up."""
        late_s = self._lateness.random() * self._faults.jitter_s
        if self._speed:
            late_s += self._started_at + self._played / self._fs / self._speed - time.monotonic()
        if late_s > 0:
            self._stopped.wait(late_s)

    def _disturb(self) -> None:
        """Stall or unplug, if it is time for that."""
        at_s = self._played / self._fs
        if self._stall_at_s and at_s >= self._stall_at_s[0]:
            self._stall_at_s.pop(0)
            self.totals.stalls += 1
            self._stopped.wait(self._faults.stall_s)
            self._started_at += self._faults.stall_s
        if self._unplug_at_s and at_s >= self._unplug_at_s[0]:
            self._unplug_at_s.pop(0)
            self.totals.unplugs += 1
            self._away_until = self._played + round(self._faults.unplug_s * self._fs)
            due_s = self._faults.unplug_s / self._speed if self._speed else 0.0
            away_s = max(UNPLUG_AT_LEAST_S, due_s)
            self._device.unplug(again=True)
            self._stopped.wait(away_s)
            self._started_at += away_s - due_s
            if self._faults.restart_on_replug:
                self._restart()
            self._device.plug_in()

    def _restart(self) -> None:
        """The device counts anew."""
        if isinstance(self._encoder, EcgmoeDevice):
            before = self._encoder.encoder
            self._encoder = _ecgmoe_device(before.info, (before.run + 1) % 2**16, 0, self._per_frame)
        else:
            self._encoder = self._protocol.make_encoder(self._settings)
        self._audience.encoder = self._encoder

    def _send_samples(self, values: NDArray[np.float64]) -> None:
        """Send one frame, or what the faults make of it."""
        n = values.shape[1]
        before = self._encoder.clipped
        data = self._encoder.encode(values)
        self.totals.samples_clipped += self._encoder.clipped - before
        draw = self._chance.random()
        if draw < self._faults.drop:
            self._count_dropped(n)
        elif draw < self._faults.drop + self._faults.corrupt:
            spoiled = bytearray(data)
            spoiled[self._chance.integers(len(data) - 1)] ^= int(self._chance.integers(1, 256))
            self._send(bytes(spoiled))
            self.totals.samples_corrupted += n
            self.totals.frames_corrupted += 1
        elif self._send(data):
            self.totals.samples_sent += n
            self.totals.frames_sent += 1
        else:
            self._count_dropped(n)

    def _send(self, data: bytes) -> bool:
        return self._audience.listening() and self._device.write(data, self._stopped)

    def _count_dropped(self, n: int) -> None:
        self.totals.samples_dropped += n
        self.totals.frames_dropped += 1


def _ecgmoe_device(info: StreamInfo, run: int, first_index: int, per_frame: int) -> EcgmoeDevice:
    try:
        return EcgmoeDevice(frame.FrameEncoder(info, run, first_index), per_frame)
    except ValueError as error:
        raise SignalError(f"This recording cannot be sent as frames, which need {error}.") from error


def _new_run() -> int:
    return int.from_bytes(os.urandom(2), "little")

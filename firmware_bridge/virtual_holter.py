"""A virtual Holter: replays a recording through a real pseudo terminal in any of the wire formats.

The reading program sees a serial device, so everything from the port to the events runs as with hardware. Faults can
be requested; they are reproducible, and the samples lost by them are counted.
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
from ecgmoe_edge.firmware_bridge.formats.ecgmoe import EcgmoeDevice
from ecgmoe_edge.firmware_bridge.items import Encoder, Settings, StreamInfo
from ecgmoe_edge.firmware_bridge.protocols import get_protocol
from ecgmoe_edge.firmware_bridge.pty_device import PtyDevice
from ecgmoe_edge.firmware_bridge.reader_presence import ReaderPresence
from ecgmoe_edge.streaming.signal.resampling import resample_blocks

FRAME_S = 0.05  # seconds of signal in a frame, if that fits
UNPLUG_AT_LEAST_S = 0.3  # wall time, so that a reader can notice it at any replay speed
END_WAIT_S = 10.0  # longest wait for the reader to take the last bytes
READ_QUIET_S = 3.0  # if nothing has waited to be read for so long (a busy kernel takes a second), all was received


@dataclass(frozen=True)
class Faults:
    """Faults to inject, and when. Times called `..._at_s` are in seconds of the recording."""

    drop: float = 0.0  # fraction of sample frames that are never sent, 0..1
    corrupt: float = 0.0  # fraction of sample frames with one byte changed, 0..1
    stall_at_s: tuple[float, ...] = ()
    stall_s: float = 3.0  # duration in wall time; nothing is lost
    unplug_at_s: tuple[float, ...] = ()
    unplug_s: float = 2.0  # duration in the recording; its frames are lost
    jitter_s: float = 0.0  # largest delay of a frame in wall time; the order of frames stays
    restart_on_replug: bool = False  # the device restarts its counters when it is plugged in again
    seed: int = 0


@dataclass
class ReplayTotals:
    """What was replayed. Samples are per lead."""

    samples_sent: int = 0  # sent intact
    frames_sent: int = 0
    samples_dropped: int = 0  # not sent: `Faults.drop`, unplugged, or no reader
    frames_dropped: int = 0
    samples_corrupted: int = 0
    # Beyond the device's code range in some lead, and set to its limit; includes dropped samples
    samples_clipped: int = 0
    frames_corrupted: int = 0
    stalls: int = 0
    unplugs: int = 0


class VirtualHolter:
    """Replays blocks of samples as a serial device.

    Args:
        blocks: arrays (leads, samples) in mV; NaN is sent as "not measured".
        fs: sampling rate, Hz.
        leads: lead names.
        link: path of a symlink to create as the port's name; None: no symlink.
        protocol: name of the wire format. If its device has another rate, the recording is resampled; if it has
            another number of leads, that many are sent.
        settings: of the device.
        speed: 1 is real time, 20 is twenty times as fast, 0 as fast as the reader accepts data.
        picovolts_per_lsb: for "ecgmoe": step to which samples are rounded, pV (100,000 pV = 0.1 uV, range +-838 mV).
        samples_per_frame: for "ecgmoe": None for 50 ms of signal.
        wait_for_reader: pause while no program reads, so that no sample is lost. False: continue, as a device does.
        end_without_reader_s: end if a reader left within seconds (it rejected the recording) and no other reader came
            for this long; None: never.
        faults: faults to inject.
        run, first_index: for "ecgmoe": initial counters; by default a random run and 0.
        device: for "ecgmoe": the device's name.

    Attributes:
        totals: what was replayed so far.
        abandoned: the replay ended because of `end_without_reader_s`.

    Raises:
        SignalError: a rate, leads or blocks that cannot be sent.
        UsageError: the protocol does not exist.
        DeviceError: the symlink cannot be created.
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
        end_without_reader_s: float | None = None,
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
        self._end_without_reader_s = end_without_reader_s
        self.abandoned = False
        self._faults = faults or Faults()
        self._fault_rng = np.random.default_rng(self._faults.seed)
        # A separate generator, so that jitter does not change which frames are lost
        self._jitter_rng = np.random.default_rng([self._faults.seed, 1])
        self._stall_at_s = sorted(self._faults.stall_at_s)
        self._unplug_at_s = sorted(self._faults.unplug_at_s)
        self.totals = ReplayTotals()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._playing = False
        self._played = 0  # samples of the recording so far, sent or not
        self._unplugged_until = 0  # samples before this one fall into an unplugged period
        self._clock_start = 0.0  # wall time of the recording's first sample, moved by every pause
        self._device = PtyDevice(link)
        self._presence = ReaderPresence(self._device, self._encoder, self._stopped)

    @property
    def port(self) -> str:
        """The path that a reader opens."""
        return self._device.port

    @property
    def reader_options(self) -> str:
        """The options that `ecgmoe-edge stream` needs to read this device."""
        values = {"--fs": f"{float(self._encoder.rate):g}", "--uv-per-lsb": f"{self._encoder.uv_per_lsb:g}"}
        return " ".join(
            [f"--protocol {self._protocol.name}", *(f"{need} {values[need]}" for need in self._protocol.needs)]
        )

    def play(self) -> ReplayTotals:
        """Replay to the end, or until `stop`. Then the port vanishes."""
        self._playing = True
        try:
            self._play()
        finally:
            self._device.unplug()
            self._playing = False
        return self.totals

    def start(self) -> None:
        """Replay in a thread."""
        self._thread = threading.Thread(target=self._play_in_thread, name="virtual holter", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for a replay in a thread to end. False if it has not ended. Raises what the replay raised."""
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return False
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return True

    def stop(self) -> None:
        """Stop as if the device were unplugged: no end frame, and the port vanishes.

        A replay in a thread has ended when this returns. `play` may be stopped from a signal handler.
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
        except BaseException as error:  # noqa: BLE001 - re-raised by `join`
            self._failure = error

    def _play(self) -> None:
        self._clock_start = time.monotonic()
        next_info = 0
        for values in self._frames():
            self._apply_faults()
            n = values.shape[1]
            if self._played < self._unplugged_until:
                if not self._faults.restart_on_replug:
                    self._encoder.encode(values)  # the device measures, but cannot send
                self._count_dropped(n)
            else:
                self._pace()
                self._wait_until_read()
                if self.abandoned:
                    return
                if self._presence.new_reader or self._played >= next_info:
                    boot = self._encoder.boot() if self._presence.new_reader else b""
                    self._presence.new_reader = False
                    self._send(boot + self._encoder.announce())
                    next_info = self._played + round(self._fs)
                self._send_samples(values)
            self._played += n
            if self._stopped.is_set():
                return
        self._wait_until_read()
        if not self.abandoned and self._send(self._encoder.end()):
            self._wait_for_last_read()

    def _frames(self) -> Iterator[NDArray[np.float64]]:
        """The blocks in mV (leads, samples), cut to the length of a frame. The last one may be shorter."""
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
        """The blocks, checked to have this recording's leads."""
        for block in blocks:
            block = np.asarray(block, dtype=np.float64)
            if block.ndim != 2 or len(block) != len(self._leads):
                raise SignalError(
                    f"A block of shape {block.shape} does not fit {len(self._leads)} lead(s) "
                    f"{', '.join(self._leads)}: give arrays of shape (leads, samples) in mV."
                )
            yield block

    def _wait_until_read(self) -> None:
        if not self._wait_for_reader:
            return
        since = time.monotonic()
        while not self.abandoned and not self._presence.poll() and not self._stopped.wait(0.005):
            gone_s = self._presence.seconds_since_early_exit()
            self.abandoned = (
                self._end_without_reader_s is not None and gone_s is not None and gone_s >= self._end_without_reader_s
            )
        self._clock_start += time.monotonic() - since

    def _wait_for_last_read(self) -> None:
        """Keep the port until the reader has received the end frame: closing it would discard what was not read yet.

        A reader that has received the end frame sends a stop command or closes the port. If it does neither, the wait
        ends once nothing has waited to be read for a while.
        """
        deadline, read_at = time.monotonic() + END_WAIT_S, time.monotonic()
        while self._presence.poll() and not self._stopped.wait(0.02):
            now = time.monotonic()
            if self._device.unread():
                read_at = now
            if now >= min(deadline, read_at + READ_QUIET_S):
                return

    def _pace(self) -> None:
        """Wait for the time of the next sample, plus the requested jitter."""
        wait_s = self._jitter_rng.random() * self._faults.jitter_s
        if self._speed:
            wait_s += self._clock_start + self._played / self._fs / self._speed - time.monotonic()
        if wait_s > 0:
            self._stopped.wait(wait_s)

    def _apply_faults(self) -> None:
        """Stall or unplug, if the recording has reached that time."""
        at_s = self._played / self._fs
        if self._stall_at_s and at_s >= self._stall_at_s[0]:
            self._stall_at_s.pop(0)
            self.totals.stalls += 1
            self._stopped.wait(self._faults.stall_s)
            self._clock_start += self._faults.stall_s
        if self._unplug_at_s and at_s >= self._unplug_at_s[0]:
            self._unplug_at_s.pop(0)
            self.totals.unplugs += 1
            self._unplugged_until = self._played + round(self._faults.unplug_s * self._fs)
            planned_s = self._faults.unplug_s / self._speed if self._speed else 0.0
            away_s = max(UNPLUG_AT_LEAST_S, planned_s)
            self._device.unplug(will_return=True)
            self._stopped.wait(away_s)
            self._clock_start += away_s - planned_s
            if self._faults.restart_on_replug:
                self._restart()
            self._device.plug_in()

    def _restart(self) -> None:
        """Restart the device's counters."""
        if isinstance(self._encoder, EcgmoeDevice):
            before = self._encoder.encoder
            self._encoder = _ecgmoe_device(before.info, (before.run + 1) % 2**16, 0, self._per_frame)
        else:
            self._encoder = self._protocol.make_encoder(self._settings)
        self._presence.encoder = self._encoder

    def _send_samples(self, values: NDArray[np.float64]) -> None:
        """Send one frame, subject to the faults."""
        n = values.shape[1]
        before = self._encoder.clipped
        data = self._encoder.encode(values)
        self.totals.samples_clipped += self._encoder.clipped - before
        draw = self._fault_rng.random()
        if draw < self._faults.drop:
            self._count_dropped(n)
        elif draw < self._faults.drop + self._faults.corrupt:
            corrupted = bytearray(data)
            corrupted[self._fault_rng.integers(len(data) - 1)] ^= int(self._fault_rng.integers(1, 256))
            self._send(bytes(corrupted))
            self.totals.samples_corrupted += n
            self.totals.frames_corrupted += 1
        elif self._send(data):
            self.totals.samples_sent += n
            self.totals.frames_sent += 1
        else:
            self._count_dropped(n)

    def _send(self, data: bytes) -> bool:
        return self._presence.poll() and self._device.write(data, self._stopped)

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

"""The items that every wire format is decoded into, and the interface of a wire format.

A decoder turns bytes into items, in the order in which they happened on the wire. The serial link adds the items that
only the host can know (`LinkStall`, `LinkReconnect`, `ConsumerLag`, `ClockReading`, `Advice`). Nothing here depends on
a particular device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Final, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

# Why samples are missing; a `gap` event carries these words.
LossReason: TypeAlias = Literal["link", "device overflow", "host overflow", "reconnect", "restart"]
LOST_ON_LINK: Final = "link"  # bytes were damaged or dropped between the device and this host
LOST_IN_DEVICE: Final = "device overflow"  # the device's own buffer was full
LOST_IN_HOST: Final = "host overflow"  # the consumer of this host's queue was too slow
LOST_WHILE_AWAY: Final = "reconnect"  # the port was gone (unplugged, out of radio range)
LOST_AT_RESTART: Final = "restart"  # the device restarted its counters

MILLIVOLTS_PER_PICOVOLT = 1e-9


@dataclass(frozen=True)
class StreamInfo:
    """Rate, leads and scale of a stream. Comes before the first samples, and again only if something has changed."""

    rate: Fraction  # Hz, exact: a 32,768 Hz crystal divided by 131 gives no whole number
    leads: tuple[str, ...]
    picovolts_per_lsb: tuple[float, ...]  # one per lead
    device: str = ""

    @property
    def fs(self) -> float:
        """Sampling rate in Hz."""
        return float(self.rate)


@dataclass(frozen=True, eq=False)
class Samples:
    """Consecutive samples of all leads."""

    values: NDArray[np.float64]  # mV, (leads, samples); NaN if the device measured no value
    first_index: int  # index of values[:, 0] counted from the stream's first sample; known losses count
    device_time_s: float | None = None  # the device's clock at that sample, s; None if it has none


@dataclass(frozen=True)
class SampleLoss:
    """Samples (per lead) that were measured, or should have been, and did not arrive."""

    samples: int | None  # None if their number is unknown
    reason: LossReason
    at_least: bool = False  # True if the device's counter may have wrapped: this number or more


@dataclass(frozen=True)
class LeadOffChange:
    """Electrodes came off or were reattached. Valid from the next samples on."""

    mask: tuple[bool, ...]  # one per lead, True if it is off
    leads: tuple[str, ...]  # names of the leads that are off


@dataclass(frozen=True)
class DeviceRestart:
    """The device restarted its counters. A `SampleLoss` of unknown length follows."""

    run: int


@dataclass(frozen=True)
class EndOfStream:
    """The device reports that its recording is over."""

    samples: int  # per lead, measured by the device in this run, modulo 2**32


@dataclass(frozen=True)
class LinkStall:
    """No samples for a while, or the port went away. Comes once until samples arrive again."""

    waited_s: float  # time without samples, s


@dataclass(frozen=True)
class LinkReconnect:
    """The port is open again."""

    away_s: float  # how long the port was gone, s
    port: str


@dataclass(frozen=True)
class ConsumerLag:
    """Samples wait for a slow consumer. As soon as the queue is full, samples are lost."""

    waiting: int  # samples per lead that wait
    room: int  # samples per lead that the queue can hold


@dataclass(frozen=True)
class ClockReading:
    """Time of the next sample by this host's clock, and the drift of the device's clock."""

    host_time_s: float  # Unix time
    drift_ppm: float | None  # how much faster the device's clock runs, ppm; None until enough time has passed


@dataclass(frozen=True)
class Advice:
    """A sentence for the user: what looks wrong about the device, and what to do."""

    text: str


WireItem: TypeAlias = StreamInfo | Samples | SampleLoss | LeadOffChange | DeviceRestart | EndOfStream
LinkItem: TypeAlias = WireItem | LinkStall | LinkReconnect | ConsumerLag | ClockReading | Advice


@dataclass
class WireCounts:
    """Statistics of a decoder. Sample counts are per lead."""

    bytes: int = 0
    frames: int = 0  # valid frames, including duplicates and unknown types
    samples: int = 0
    lost_samples: int = 0  # samples known to be lost between the first and the last sample
    lost_in_device: int = 0  # the part of lost_samples that the device dropped because its buffer was full
    lost_frames: int = 0  # a lower bound: a gap of 65,536 frames or more is counted modulo 65,536
    gaps_of_unknown_length: int = 0
    samples_before_info: int = 0  # samples that arrived before rate and scale were known; not part of the stream
    bad_frames: int = 0  # byte sequences between delimiters that are no valid frame
    junk_bytes: int = 0  # bytes of these sequences
    duplicate_frames: int = 0  # repeated or late frames; dropped
    unknown_frames: int = 0  # valid frames of a type that this version does not know; skipped
    newer_version: int = 0  # frames of a newer protocol version than this program knows
    restarts: int = 0

    def as_dict(self) -> dict[str, int]:
        """Name to count, JSON-ready.

        >>> WireCounts(frames=2, samples=20).as_dict()["samples"]
        20
        """
        return {field.name: int(getattr(self, field.name)) for field in fields(self)}


class Decoder(Protocol):
    """An incremental decoder. Its memory is bounded by a few frames, whatever bytes arrive.

    Any chunking of the same bytes gives the same counts, and the same items once neighbouring `Samples` are joined.
    """

    counts: WireCounts

    def feed(self, data: bytes) -> list[WireItem]:
        """Decode the next bytes. Returns the items that they complete. Never raises on any bytes."""
        ...

    def interrupted(self) -> list[WireItem]:
        """The byte stream was interrupted: the next bytes do not continue the last ones.

        Returns the items held back so far.
        """
        ...

    def silent(self, seconds: float) -> None:
        """No bytes for `seconds` on an open port: a counter may have wrapped meanwhile."""
        ...


class Encoder(Protocol):
    """The device's side of a protocol: encodes samples and answers commands as the device would.

    Attributes:
        rate: sampling rate, Hz.
        leads: lead names.
        uv_per_lsb: scale, uV per step.
        per_frame: samples (per lead) in a frame.
        streaming: whether samples are being sent; initially True for a device that streams without a start command.
        clipped: samples so far that exceeded the code range in some lead and were encoded at its limit.
    """

    rate: Fraction  # Hz
    leads: tuple[str, ...]
    uv_per_lsb: float
    per_frame: int
    streaming: bool
    clipped: int

    def receive(self, data: bytes) -> bytes:
        """Process bytes from the host and return the reply. Changes `streaming`."""
        ...

    def boot(self) -> bytes:
        """What the device sends at power-on."""
        ...

    def announce(self) -> bytes:
        """The stream header: sent to each new reader and once a second. Empty if the format has none."""
        ...

    def encode(self, values: NDArray[np.float64]) -> bytes:
        """Encode the next frame and advance the counters, whether or not the frame is sent.

        Args:
            values: mV, (leads, samples), at most `per_frame` samples; NaN while an electrode is off.
        """
        ...

    def end(self) -> bytes:
        """What the device sends when the recording is over."""
        ...


@dataclass(frozen=True)
class Settings:
    """What the user states about a device. None means the protocol's default."""

    rate: Fraction | None = None  # Hz
    leads: tuple[str, ...] | None = None  # names of the first channels; "-" omits a channel
    uv_per_lsb: float | None = None


@dataclass(frozen=True)
class CommandStep:
    """One step of the handshake that starts or stops a device. Replies also go to the decoder."""

    data: bytes
    reply: bytes = b""  # the reply to wait for before the next step; empty: none
    wait_s: float = 0.0  # how long to wait for the reply; without one, a pause
    tries: int = 1  # how often the command is sent while no reply comes


@dataclass(frozen=True)
class Probe:
    """A query that identifies a device of this kind. It is sent only if the user allows it."""

    query: bytes
    is_reply: Callable[[bytes], bool]  # whether these bytes contain the expected reply
    wait_s: float = 1.0
    restore: bytes = b""  # command that returns the device to its earlier state


@dataclass(frozen=True)
class WireFormat:
    """A serial protocol: all that the link needs to open a device and to decode its data.

    Attributes:
        name: its name on the command line.
        description: one line of text for users.
        bauds: the baud rates of its devices; the first is the default.
        rate, leads, scale: text for users: what is known before the device is connected.
        limits: text for users: which losses it can detect and which not, in one sentence.
        make_decoder: raises UsageError if a required setting is missing.
        make_encoder: the device's side, for virtual devices and tests.
        recognise: a score of 0 to 1 for received bytes; at 0.5 and more they are of this protocol. Never raises.
        start, stop: the handshakes; empty for a device that needs none.
        probe: the query that identifies a device; None if there is none.
        counter_range: in samples: a shorter burst of losses is counted exactly. None: the frames have no counter.
        check_bits: at each position, random bytes pass for a frame with probability 2**-check_bits.
        needs: options that the user must give, such as "--uv-per-lsb".
        advice: called with the bytes of a device that sends no samples (b"" if it sends nothing). Returns what is
            wrong and what to do, or None if the bytes do not tell.
    """

    name: str
    description: str
    bauds: tuple[int, ...]
    rate: str
    leads: str
    scale: str
    limits: str
    make_decoder: Callable[[Settings], Decoder]
    make_encoder: Callable[[Settings], Encoder]
    recognise: Callable[[bytes], float]
    start: tuple[CommandStep, ...] = ()
    stop: tuple[CommandStep, ...] = ()
    probe: Probe | None = None
    counter_range: int | None = None
    check_bits: float = 0.0
    needs: tuple[str, ...] = ()
    advice: Callable[[bytes], str | None] = lambda received: None

    @property
    def baud(self) -> int:
        """The default baud rate."""
        return self.bauds[0]

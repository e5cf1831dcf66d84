"""What every wire format is decoded into, and what a wire format must offer.

A decoder turns bytes into these items in the order in which they happened on the wire; the serial link adds what only
the host can know (`Stalled`, `Reconnected`). Nothing here depends on a particular device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Final, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

# Why samples are missing; the words that a `gap` event carries.
LossReason: TypeAlias = Literal["link", "device overflow", "host overflow", "reconnect", "restart"]
LOST_ON_LINK: Final = "link"  # bytes were damaged or dropped between the device and this host
LOST_IN_DEVICE: Final = "device overflow"  # the device's own buffer was full
LOST_IN_HOST: Final = "host overflow"  # the reader of this host's queue was minutes behind
LOST_WHILE_AWAY: Final = "reconnect"  # the port was away
LOST_AT_RESTART: Final = "restart"  # the device began to count from the start

MILLIVOLTS_PER_PICOVOLT = 1e-9


@dataclass(frozen=True)
class StreamInfo:
    """How to read the samples: sent before the first of them, and again only when something changed."""

    rate: Fraction  # Hz, exact: a 32,768 Hz crystal divided by 131 is no whole number
    leads: tuple[str, ...]
    picovolts_per_lsb: tuple[float, ...]  # one per lead
    device: str = ""

    @property
    def fs(self) -> float:
        """Samples per second and lead, Hz."""
        return float(self.rate)


@dataclass(frozen=True, eq=False)
class Samples:
    """Consecutive samples of all leads."""

    values: NDArray[np.float64]  # mV, (leads, n); NaN where the device had no value
    first_index: int  # index of values[:, 0] from the stream's first sample, known losses counted
    device_time_s: float | None = None  # the device's clock at that sample; None if it has none


@dataclass(frozen=True)
class Lost:
    """Samples (per lead) that were measured, or should have been, and did not arrive."""

    samples: int | None  # None where nothing tells how many
    reason: LossReason
    at_least: bool = False  # the counter may have wrapped: so many or more


@dataclass(frozen=True)
class LeadOffChange:
    """Electrodes came off or were put back; holds from the next samples on."""

    mask: tuple[bool, ...]  # one per lead, True where it is off
    leads: tuple[str, ...]  # the names of those that are off


@dataclass(frozen=True)
class DeviceRestart:
    """The device began a new run of its counters; a `Lost(None, ...)` follows."""

    run: int


@dataclass(frozen=True)
class EndOfStream:
    """The device says that it has finished."""

    samples: int  # per lead, that the device measured in this run, modulo 2**32


@dataclass(frozen=True)
class Stalled:
    """No samples for a while, or the port went away; said once until samples come again."""

    waited_s: float


@dataclass(frozen=True)
class Reconnected:
    """The port is open again."""

    away_s: float
    port: str


@dataclass(frozen=True)
class FellBehind:
    """Samples (per lead) pile up before their consumer; once there is no more room, they are lost."""

    waiting: int
    room: int


@dataclass(frozen=True)
class ClockReading:
    """When the next sample was there by this host's clock, and what the device's clock gains on it."""

    host_time_s: float  # Unix time
    drift_ppm: float | None  # None until enough was seen


@dataclass(frozen=True)
class Advice:
    """A sentence for the person who runs the stream: what looks wrong about the device, and what to do."""

    text: str


WireItem: TypeAlias = StreamInfo | Samples | Lost | LeadOffChange | DeviceRestart | EndOfStream
LinkItem: TypeAlias = WireItem | Stalled | Reconnected | FellBehind | ClockReading | Advice


@dataclass
class WireCounts:
    """What a decoder has seen. Sample counts are per lead."""

    bytes: int = 0
    frames: int = 0  # valid ones, duplicates and unknown types included
    samples: int = 0
    lost_samples: int = 0  # known to be lost between the first and the last sample
    lost_in_device: int = 0  # of these, by overflow in the device
    lost_frames: int = 0  # at least: a hole of 65,536 frames or more counts modulo 65,536
    gaps_of_unknown_length: int = 0
    samples_before_info: int = 0  # arrived before rate and scale were known; not part of the stream
    bad_frames: int = 0  # runs of bytes between delimiters that are no valid frame
    junk_bytes: int = 0  # the bytes of those runs
    duplicate_frames: int = 0  # repeated or late; dropped
    unknown_frames: int = 0  # valid, but of a type this version does not know; skipped
    newer_version: int = 0  # frames of a protocol version above ours
    restarts: int = 0

    def as_dict(self) -> dict[str, int]:
        """Name -> count, JSON-ready."""
        return {field.name: int(getattr(self, field.name)) for field in fields(self)}


class Decoder(Protocol):
    """An incremental decoder, whose memory is bounded by a few frames, whatever comes.

    Any chunking of the same bytes gives the same counts, and the same items once neighbouring `Samples` are joined.
    """

    counts: WireCounts

    def feed(self, data: bytes) -> list[WireItem]:
        """Take the bytes that came next; give what became certain by them. Never raises on any bytes."""
        ...

    def interrupted(self) -> list[WireItem]:
        """The byte stream broke off; what comes next does not join what came before. Gives what was held back."""
        ...

    def silent(self, seconds: float) -> None:
        """Nothing came for so long on an open port: a counter may have wrapped meanwhile."""
        ...


class Encoder(Protocol):
    """The device's side of a protocol: makes the bytes that a device would send, and answers as it would."""

    rate: Fraction  # Hz
    leads: tuple[str, ...]
    uv_per_lsb: float
    per_frame: int  # samples in a frame
    streaming: bool  # whether it sends samples now; a device that streams unasked begins with True
    clipped: int  # samples so far that were beyond what it can say, in some lead, and encoded at its limit

    def hear(self, data: bytes) -> bytes:
        """Take bytes from the host; give the answer. Changes `streaming`."""
        ...

    def boot(self) -> bytes:
        """What it says when it gets power."""
        ...

    def announce(self) -> bytes:
        """What it says to somebody who begins to listen, and once a second."""
        ...

    def encode(self, values: NDArray[np.float64]) -> bytes:
        """The next frame: `per_frame` samples or fewer in mV (leads, n), NaN where the electrode is off.

        It counts whether it is sent or not.
        """
        ...

    def end(self) -> bytes:
        """What it says when the recording is over."""
        ...


@dataclass(frozen=True)
class Settings:
    """What the user says about a device; None is the protocol's own."""

    rate: Fraction | None = None  # Hz
    leads: tuple[str, ...] | None = None  # names of the first channels; "-" leaves one out
    uv_per_lsb: float | None = None


@dataclass(frozen=True)
class Say:
    """One step of how a device is started or stopped. Whatever it answers also goes to the decoder."""

    data: bytes
    until: bytes = b""  # the answer to wait for before the next step
    at_most_s: float = 0.0  # for so long; without `until`, a pause
    tries: int = 1  # how often it is said while no answer comes


@dataclass(frozen=True)
class Probe:
    """A question by which a device of this kind can be known. It is asked only when the user allows it."""

    question: bytes
    answered: Callable[[bytes], bool]  # whether these bytes have the answer in them
    wait_s: float = 1.0
    afterwards: bytes = b""  # puts the device back as it was


@dataclass(frozen=True)
class WireFormat:
    """A serial protocol by name: what the link needs to open a device and to understand it."""

    name: str
    description: str
    bauds: tuple[int, ...]  # the first is the default
    rate: str  # for people: what is known beforehand
    leads: str
    scale: str
    limits: str  # what it can detect as lost and what not, in a sentence
    make_decoder: Callable[[Settings], Decoder]  # raises UsageError for a setting that must be given and is not
    make_encoder: Callable[[Settings], Encoder]
    recognise: Callable[[bytes], float]  # 0..1 from bytes heard; 0.5 and more is sure. Pure; never raises
    start: tuple[Say, ...] = ()  # () for a device that streams by itself
    stop: tuple[Say, ...] = ()
    probe: Probe | None = None
    counter_range: int | None = None  # samples; a shorter burst of losses is counted exactly. None: no counter
    check_bits: float = 0.0  # a run of random bytes passes for a frame with a chance of 2**-check_bits at each byte
    needs: tuple[str, ...] = ()  # options that the user must give, such as "--uv-per-lsb"
    # From the bytes of a device that sends no samples, b"" if nothing came: what is wrong and what to do, if they tell.
    advice: Callable[[bytes], str | None] = lambda received: None

    @property
    def baud(self) -> int:
        """The rate that its devices use unless told otherwise."""
        return self.bauds[0]

"""Finds out which protocol the device at a port uses: by listening at each baud rate and, if allowed, by a query.

Listening sends nothing, because an unknown device may interpret any byte as a command. The received bytes are handed
over with the open port, so that whoever reads on loses none of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.firmware_bridge.items import WireFormat
from ecgmoe_edge.firmware_bridge.open_port import VANISHED_PORT_ADVICE, open_port
from ecgmoe_edge.firmware_bridge.ports import PortInfo, list_serial_ports
from ecgmoe_edge.firmware_bridge.protocols import all_protocols
from ecgmoe_edge.firmware_bridge.serial_package import serial

MIN_SCORE = 0.5  # a protocol with a lower score is no candidate
MIN_MARGIN = 0.2  # the best score must exceed all others by this much
LISTEN_S = 3.0  # longest time to listen at a baud rate at which bytes arrive
SILENCE_S = 3.5  # time after which a device counts as silent; a board that resets on opening needs 2 s to start
SCORE_EVERY_S = 0.25
MIN_BYTES = 64  # fewer bytes are not scored
KEPT_BYTES = 65536
READ_TIMEOUT_S = 0.05


@dataclass
class RecognisedDevice:
    """A device whose protocol was recognised. Its port is still open."""

    port: str
    protocol: str
    baud: int
    serial: serial.Serial
    received: bytes  # received so far at this baud rate and not yet decoded

    def close(self) -> None:
        """Release the port, if no link has taken it over."""
        self.serial.close()


def recognise(
    port: str, *, baud: int | None = None, probe: bool = False, protocols: Sequence[WireFormat] | None = None
) -> RecognisedDevice:
    """Find out which protocol the device at `port` uses.

    Args:
        port: path of the port.
        baud: listen only at this baud rate; None: at the rates of all protocols.
        probe: if listening gives no result, send each protocol's query.
        protocols: the candidates; None: all.

    Raises:
        DeviceError: the port cannot be opened, nothing arrives, or the bytes fit no protocol or more than one. The
            message names the candidates.
    """
    known = tuple(protocols or all_protocols())
    rates = (baud,) if baud else _rates(known)
    opened = open_port(port, rates[0], READ_TIMEOUT_S)
    try:
        found = _listen(port, opened, rates, known, any_rate=baud is not None)
        answers: list[tuple[WireFormat, bytes]] = []
        if found is None and probe:
            found = _probe(port, opened, baud, known, answers)
    except OSError as error:
        opened.close()
        raise DeviceError(
            f"{port} went away during recognition: plug it in again, or close the other program that reads it."
        ) from error
    except DeviceError:
        opened.close()
        raise
    if found is None:
        opened.close()
        raise DeviceError(_no_reply_message(port, probe, answers))
    return found


def recognise_any(*, probe: bool = False) -> RecognisedDevice:
    """The only serial port with a known device.

    Raises:
        DeviceError: there is no such port, or more than one.
    """
    ports = [info for info in list_serial_ports() if info.usb_id is not None]
    if not ports:
        raise DeviceError(
            f"There is no USB serial port: plug the device in, or name its port with --port. {VANISHED_PORT_ADVICE}"
        )
    found: list[RecognisedDevice] = []
    why: list[str] = []
    for info in ports:
        try:
            found.append(recognise(info.port, probe=probe))
        except DeviceError as error:  # noqa: PERF203 - the overhead is negligible: each port takes seconds
            why.append(str(error))
    if len(found) == 1:
        return found[0]
    for device in found:
        device.close()
    if found:
        several = ", ".join(f"{device.protocol} at {device.port}" for device in found)
        raise DeviceError(f"There is more than one device: {several}. Choose one with --port.")
    raise DeviceError(" ".join(why))


def identify_port(info: PortInfo, *, probe: bool = False) -> tuple[str | None, int | None, str]:
    """Protocol and baud rate of the device at a port (None if unknown), and a sentence about it."""
    try:
        found = recognise(info.port, probe=probe)
    except DeviceError as error:
        return None, None, str(error)
    found.close()
    return found.protocol, found.baud, f"{found.protocol} at {found.baud} baud"


def rank_protocols(data: bytes, protocols: Iterable[WireFormat]) -> list[tuple[float, str]]:
    """(score, name) of the protocols that may have produced these bytes, best first."""
    scores = [(protocol.recognise(data), protocol.name) for protocol in protocols]
    return sorted(((score, name) for score, name in scores if score >= MIN_SCORE), key=lambda pair: (-pair[0], pair[1]))


def best_protocol(scores: Sequence[tuple[float, str]]) -> str | None:
    """The protocol whose score clearly exceeds all others; None if there is none.

    >>> best_protocol([(0.9, "cyton"), (0.5, "hp6")])
    'cyton'
    >>> best_protocol([(0.9, "cyton"), (0.85, "hp6")]) is None
    True
    """
    if not scores or (len(scores) > 1 and scores[0][0] - scores[1][0] < MIN_MARGIN):
        return None
    return scores[0][1]


def _rates(protocols: Iterable[WireFormat]) -> tuple[int, ...]:
    """All baud rates, those used by most protocols first."""
    counts: dict[int, int] = {}
    for protocol in protocols:
        for rate in protocol.bauds:
            counts[rate] = counts.get(rate, 0) + 1
    return tuple(sorted(counts, key=lambda rate: -counts[rate]))


def _listen(
    port: str, opened: serial.Serial, rates: Sequence[int], known: Sequence[WireFormat], *, any_rate: bool
) -> RecognisedDevice | None:
    """Recognise by listening only. None if the device is silent; raises DeviceError if the result is not clear."""
    sample = b""
    for rate in rates:
        opened.baudrate = rate
        candidates = [protocol for protocol in known if any_rate or rate in protocol.bauds]
        data, scores = _receive(opened, candidates, LISTEN_S if sample else SILENCE_S)
        winner = best_protocol(scores)
        if winner is not None:
            return RecognisedDevice(port, winner, rate, opened, data)
        if scores:
            likely = " or ".join(name for _, name in scores)
            raise DeviceError(f"The bytes from {port} may be {likely}: choose one with --protocol.")
        if not data and not sample:
            return None  # no other rate will help: a wrong rate gives wrong bytes, not silence
        sample = sample or data
    what = describe_bytes(sample)
    raise DeviceError(
        f"{port} sends {what}, which fits no known protocol at {', '.join(map(str, rates))} baud: check that it is the "
        "right port, or give --protocol and --baud."
    )


def _receive(
    opened: serial.Serial, candidates: Sequence[WireFormat], at_most_s: float
) -> tuple[bytes, list[tuple[float, str]]]:
    """Read until one protocol is clearly the best, or for `at_most_s`. Returns the bytes and the ranking."""
    opened.reset_input_buffer()
    data = b""
    scores: list[tuple[float, str]] = []
    begun = scored_at = time.monotonic()
    while time.monotonic() - begun < at_most_s:
        data = (data + opened.read(max(1, opened.in_waiting)))[-KEPT_BYTES:]
        if len(data) >= MIN_BYTES and time.monotonic() - scored_at >= SCORE_EVERY_S:
            scored_at = time.monotonic()
            scores = rank_protocols(data, candidates)
            if best_protocol(scores) is not None:
                break
    return data, scores


def _probe(
    port: str,
    opened: serial.Serial,
    baud: int | None,
    known: Sequence[WireFormat],
    answers: list[tuple[WireFormat, bytes]],
) -> RecognisedDevice | None:
    """Send each protocol's query at each of its baud rates.

    Replies that identify no protocol are added to `answers`.
    """
    for protocol in known:
        if protocol.probe is None:
            continue
        for rate in (baud,) if baud else protocol.bauds:
            opened.baudrate = rate
            opened.reset_input_buffer()
            opened.write(protocol.probe.query)
            answer = b""
            deadline = time.monotonic() + protocol.probe.wait_s
            while time.monotonic() < deadline and not protocol.probe.is_reply(answer):
                answer = (answer + opened.read(max(1, opened.in_waiting)))[-KEPT_BYTES:]
            if protocol.probe.restore:
                opened.write(protocol.probe.restore)
            if protocol.probe.is_reply(answer):
                return RecognisedDevice(port, protocol.name, rate, opened, b"")
            if answer:
                answers.append((protocol, answer))
    return None


def _no_reply_message(port: str, asked: bool, answers: Sequence[tuple[WireFormat, bytes]]) -> str:
    """Why no protocol was recognised, and what to do."""
    for protocol, answer in answers:
        if (advice := protocol.advice(answer)) is not None:
            return f"{port}, after the query for a {protocol.name} device: {advice}"
    if answers:
        return (
            f"{port} replies with {describe_bytes(answers[0][1])}, which fits no known protocol: give --protocol, or "
            "load another firmware."
        )
    if asked:
        return (
            f"{port} sends nothing and replied to no query: check that the device is switched on, and give --protocol "
            "if it needs a start command."
        )
    return (
        f"{port} sends nothing, and no query was sent to it: give the device's --protocol, or allow queries with "
        "--probe."
    )


def describe_bytes(data: bytes) -> str:
    """A short description of bytes for messages.

    >>> describe_bytes(b"ADC ready")
    "text, such as 'ADC ready'"
    """
    text = sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in data)
    if data and text >= 0.95 * len(data):
        line = next((line for line in data.decode("ascii", "replace").splitlines() if line.strip()), "")
        return f"text, such as {line.strip()[:40]!r}"
    return "bytes that are not text"

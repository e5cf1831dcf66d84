"""Finding out what speaks at a port: by listening at each baud rate and, only if that is allowed, by asking.

Listening sends nothing: a device of unknown kind may take any byte for a command. What was heard is handed over with
the open port, so that nothing of it is lost to who goes on reading.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.firmware_bridge.items import WireFormat
from ecgmoe_edge.firmware_bridge.open_port import VANISHED, open_port
from ecgmoe_edge.firmware_bridge.ports import PortInfo, list_serial_ports
from ecgmoe_edge.firmware_bridge.protocols import all_protocols
from ecgmoe_edge.firmware_bridge.serial_package import serial

SURE = 0.5  # a score from which on a protocol may be meant
AHEAD = 0.2  # by so much it must be ahead of every other
LISTEN_S = 3.0  # at a baud rate at which bytes come
SILENT_S = 3.5  # until a device counts as silent: one that restarts when its port is opened needs two to begin
JUDGE_EVERY_S = 0.25
AT_LEAST_BYTES = 64
KEPT_BYTES = 65536
READ_TIMEOUT_S = 0.05


@dataclass
class Recognised:
    """A protocol that was recognised at a port, which is open still."""

    port: str
    protocol: str
    baud: int
    serial: serial.Serial
    heard: bytes  # so far, at this baud rate; not yet decoded by anybody

    def close(self) -> None:
        """Release the port if nobody took it over."""
        self.serial.close()


def recognise(
    port: str, *, baud: int | None = None, probe: bool = False, protocols: Sequence[WireFormat] | None = None
) -> Recognised:
    """What speaks at `port`. baud: listen at this rate only. probe: if listening does not tell, ask.

    Raises DeviceError if the port cannot be opened, if nothing comes, or if what comes is no or more than one protocol;
    its message says which it may be.
    """
    known = tuple(protocols or all_protocols())
    rates = (baud,) if baud else _rates(known)
    opened = open_port(port, rates[0], READ_TIMEOUT_S)
    try:
        found = _listen(port, opened, rates, known, any_rate=baud is not None)
        answers: list[tuple[WireFormat, bytes]] = []
        if found is None and probe:
            found = _ask(port, opened, baud, known, answers)
    except OSError as error:
        opened.close()
        raise DeviceError(
            f"{port} went away while it was listened to: plug it in again, or close the program that reads it too."
        ) from error
    except DeviceError:
        opened.close()
        raise
    if found is None:
        opened.close()
        raise DeviceError(_silent(port, probe, answers))
    return found


def recognise_any(*, probe: bool = False) -> Recognised:
    """The one serial port at which a known device speaks. Raises DeviceError unless there is just one."""
    ports = [info for info in list_serial_ports() if info.usb_id is not None]
    if not ports:
        raise DeviceError(f"No USB serial port is here: plug the device in, or name its port with --port. {VANISHED}")
    found: list[Recognised] = []
    why: list[str] = []
    for info in ports:
        try:
            found.append(recognise(info.port, probe=probe))
        except DeviceError as error:  # noqa: PERF203 - each port takes seconds
            why.append(str(error))
    if len(found) == 1:
        return found[0]
    for one in found:
        one.close()
    if found:
        several = ", ".join(f"{one.protocol} at {one.port}" for one in found)
        raise DeviceError(f"More than one device is here: {several}. Name the one that is meant with --port.")
    raise DeviceError(" ".join(why))


def describe_port(info: PortInfo, *, probe: bool = False) -> tuple[str | None, int | None, str]:
    """Protocol and baud rate of what speaks at a port, or None twice; and a sentence about it."""
    try:
        found = recognise(info.port, probe=probe)
    except DeviceError as error:
        return None, None, str(error)
    found.close()
    return found.protocol, found.baud, f"{found.protocol} at {found.baud} baud"


def judge(data: bytes, protocols: Iterable[WireFormat]) -> list[tuple[float, str]]:
    """(score, name) of the protocols that these bytes may be of, best first."""
    scores = [(one.recognise(data), one.name) for one in protocols]
    return sorted(((score, name) for score, name in scores if score >= SURE), key=lambda pair: (-pair[0], pair[1]))


def clear_winner(scores: Sequence[tuple[float, str]]) -> str | None:
    """The one that is ahead of all others."""
    if not scores or (len(scores) > 1 and scores[0][0] - scores[1][0] < AHEAD):
        return None
    return scores[0][1]


def _rates(protocols: Iterable[WireFormat]) -> tuple[int, ...]:
    """All baud rates, those of most protocols first."""
    counts: dict[int, int] = {}
    for one in protocols:
        for rate in one.bauds:
            counts[rate] = counts.get(rate, 0) + 1
    return tuple(sorted(counts, key=lambda rate: -counts[rate]))


def _listen(
    port: str, opened: serial.Serial, rates: Sequence[int], known: Sequence[WireFormat], *, any_rate: bool
) -> Recognised | None:
    """Recognise by listening alone; None if the device is silent. Raises DeviceError if that is not clear."""
    sample = b""
    for rate in rates:
        opened.baudrate = rate
        speaking = [one for one in known if any_rate or rate in one.bauds]
        data, scores = _hear(opened, speaking, LISTEN_S if sample else SILENT_S)
        winner = clear_winner(scores)
        if winner is not None:
            return Recognised(port, winner, rate, opened, data)
        if scores:
            likely = " or ".join(name for _, name in scores)
            raise DeviceError(f"What {port} sends may be {likely}: say which with --protocol.")
        if not data and not sample:
            return None  # a wrong rate gives wrong bytes, not none: no other rate will help
        sample = sample or data
    what = describe_bytes(sample)
    raise DeviceError(
        f"{port} sends {what}, which is no protocol that is known here at {', '.join(map(str, rates))} baud: check "
        "that it is the right port, or name --protocol and --baud."
    )


def _hear(
    opened: serial.Serial, speaking: Sequence[WireFormat], at_most_s: float
) -> tuple[bytes, list[tuple[float, str]]]:
    """Listen until one protocol is clear, or for `at_most_s`."""
    opened.reset_input_buffer()
    data = b""
    scores: list[tuple[float, str]] = []
    begun = judged_at = time.monotonic()
    while time.monotonic() - begun < at_most_s:
        data = (data + opened.read(max(1, opened.in_waiting)))[-KEPT_BYTES:]
        if len(data) >= AT_LEAST_BYTES and time.monotonic() - judged_at >= JUDGE_EVERY_S:
            judged_at = time.monotonic()
            scores = judge(data, speaking)
            if clear_winner(scores) is not None:
                break
    return data, scores


def _ask(
    port: str,
    opened: serial.Serial,
    baud: int | None,
    known: Sequence[WireFormat],
    answers: list[tuple[WireFormat, bytes]],
) -> Recognised | None:
    """Put each protocol's question at each of its baud rates; what was answered to no purpose goes to `answers`."""
    for one in known:
        if one.probe is None:
            continue
        for rate in (baud,) if baud else one.bauds:
            opened.baudrate = rate
            opened.reset_input_buffer()
            opened.write(one.probe.question)
            answer = b""
            deadline = time.monotonic() + one.probe.wait_s
            while time.monotonic() < deadline and not one.probe.answered(answer):
                answer = (answer + opened.read(max(1, opened.in_waiting)))[-KEPT_BYTES:]
            if one.probe.afterwards:
                opened.write(one.probe.afterwards)
            if one.probe.answered(answer):
                return Recognised(port, one.name, rate, opened, b"")
            if answer:
                answers.append((one, answer))
    return None


def _silent(port: str, asked: bool, answers: Sequence[tuple[WireFormat, bytes]]) -> str:
    for one, answer in answers:
        if (advice := one.advice(answer)) is not None:
            return f"{port}, asked whether it is a {one.name} device: {advice}"
    if answers:
        return (
            f"{port} answers {describe_bytes(answers[0][1])}, which no protocol that is known here does: name "
            "--protocol, or load another firmware."
        )
    if asked:
        return (
            f"{port} says nothing, and gave no answer that is known: check that the device is switched on, and name "
            "--protocol if it has to be told to begin."
        )
    return (
        f"{port} says nothing by itself, and nothing was sent to it: name the device's --protocol, or allow "
        "questions with --probe."
    )


def describe_bytes(data: bytes) -> str:
    """What bytes look like, for a sentence about them."""
    text = sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in data)
    if data and text >= 0.95 * len(data):
        line = next((line for line in data.decode("ascii", "replace").splitlines() if line.strip()), "")
        return f"text, such as {line.strip()[:40]!r}"
    return "bytes that are no text"

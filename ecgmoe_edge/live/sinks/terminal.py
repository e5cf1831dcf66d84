"""Writes events for people: one line of plain text per beat and per other event."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TextIO

from ecgmoe_edge.live.sinks.json_lines import PIPE_CAPACITY
from ecgmoe_edge.live.sinks.sink import Sink
from ecgmoe_edge.shown_text import shown
from ecgmoe_edge.streaming.events import (
    ARTEFACT_REASON,
    Beat,
    BeatReason,
    Clipping,
    Clock,
    End,
    Event,
    FallingBehind,
    Flatline,
    Gap,
    LayerSwitch,
    LeadChange,
    LeadOff,
    Mains,
    ModelFault,
    PacingSpike,
    Reconnect,
    Rhythm,
    Stall,
)

_WHY_UNLABELLED: Mapping[BeatReason, str] = {
    "incomplete": "incomplete window",
    "no QRS": "no QRS complex",
    "quality": "poor quality",
    "model": "unusable model output",
    "artefact": "artefact",
}
HEADER = "     time  beat  score   RR ms  per min  quality  after ms"


class TerminalSink(Sink):
    """Writes lines of text to a terminal or any text stream, without colours or cursor movement.

    The caller keeps the stream open. At its end, a session waits until all events are written.
    """

    capacity = PIPE_CAPACITY
    wait_s = None
    reader_may_leave = True

    def __init__(self, stream: TextIO, name: str = "stdout") -> None:
        self.name = name
        self._stream = stream
        self._started = False

    def write(self, event: Event) -> None:
        """Write one event as one line."""
        if not self._started:
            self._stream.write(HEADER + "\n")
            self._started = True
        self._stream.write(shown(line_of(event)) + "\n")  # `shown`: the line may contain names sent by the device
        self._stream.flush()

    def close(self) -> None:
        """Flush."""
        self._stream.flush()


def line_of(event: Event) -> str:
    """The event as one line of text."""
    if isinstance(event, Beat):
        return _beat_line(event)
    if isinstance(event, Rhythm):
        return f"{clock(event.from_s)}  rhythm {_rhythm(event)}"
    if isinstance(event, Clock):
        return f"{clock(event.time_s)}  clock: {_time_of_day(event.host_time_s)}{_drift(event.drift_ppm)}"
    if isinstance(event, End):
        return f"{clock(event.duration_s)}  end: {event.samples:,} samples received, {event.lost:,} lost"
    return f"{clock(event.time_s)}  {_status(event)}"


def clock(seconds: float) -> str:
    """Time since the start of the stream as hours, minutes and seconds.

    >>> clock(3723.45).strip(), clock(123.45).strip()
    ('1:02:03.45', '2:03.45')
    """
    hundredths = round(100 * seconds)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes}:{rest / 100:05.2f}" if not hours else f"{hours}:{minutes:02}:{rest / 100:05.2f}"
    return f"{text:>9}"


def _beat_line(beat: Beat) -> str:
    label = beat.label or "R"
    # Among the scores, `?` is that of the artefact, and no score of a beat that is `?` for another reason.
    shows_score = label in beat.scores and beat.reason in (None, ARTEFACT_REASON)
    score = f"{beat.scores[label]:.2f}" if shows_score else ""
    rr = f"{beat.rr_ms:.0f}" if beat.rr_ms is not None else ""
    rate = f"{60000 / beat.rr_ms:.0f}" if beat.rr_ms else ""
    remarks = [_WHY_UNLABELLED[beat.reason]] if beat.reason else []
    remarks += ["found by search-back"] if beat.search_back else []
    remarks += [f"{beat.shared_label} without the patient's layer"] if beat.shared_label else []
    remark = f"  {', '.join(remarks)}" if remarks else ""
    return (
        f"{clock(beat.time_s)}  {label:<4}  {score:>5}  {rr:>6}  {rate:>7}  {beat.quality:7.2f}"
        f"  {beat.delay_ms:8.0f}{remark}"
    )


def _time_of_day(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _drift(ppm: float | None) -> str:
    return "" if ppm is None else f", the device's clock gains {ppm:+.0f} ppm"


def _rhythm(rhythm: Rhythm) -> str:
    limit = f" ({rhythm.limit})" if rhythm.limit else ""
    if rhythm.to_s is None:  # phase begin
        return f"{rhythm.label} begins{limit}"
    return f"{rhythm.label} ends after {rhythm.to_s - rhythm.from_s:.1f} s{limit}"


def _status(
    event: Gap
    | Stall
    | Reconnect
    | FallingBehind
    | LeadOff
    | LeadChange
    | Flatline
    | Clipping
    | Mains
    | PacingSpike
    | ModelFault
    | LayerSwitch,
) -> str:
    if isinstance(event, Gap):
        lost = "an unknown number of samples" if event.lost is None else f"{event.lost:,} samples"
        lost = f"at least {lost}" if event.at_least else lost
        return f"gap: {lost} lost ({event.reason})"
    if isinstance(event, Stall):
        return f"stall: no samples for {event.waited_s:.1f} s"
    if isinstance(event, Reconnect):
        return f"reconnect: {event.port} was gone for {event.away_s:.1f} s"
    if isinstance(event, FallingBehind):
        return f"falling behind: {event.waiting_s:.0f} s of signal are waiting; the queue holds {event.room_s:.0f} s"
    if isinstance(event, LeadOff):
        return f"lead off: {', '.join(event.leads)}" if event.leads else "lead off: all leads are back on"
    if isinstance(event, LeadChange):
        others = ", ".join(f"{lead} ({reason})" for lead, reason in event.others.items())
        return f"leads: {', '.join(event.leads) or 'none'}" + (f"; not {others}" if others else "")
    if isinstance(event, ModelFault):
        beats = "1 beat" if event.beats == 1 else f"{event.beats:,} beats"
        return f"model fault: no usable {', '.join(event.outputs)} for {beats}"
    if isinstance(event, LayerSwitch):
        return f"patient's layer: {'on' if event.active else 'off'}"
    if isinstance(event, Mains):
        return f"mains: {_mains(event)}{_on(event.lead)}"
    if isinstance(event, PacingSpike):
        return f"pacing spike: {event.amplitude_mv:+.1f} mV, {event.width_ms:.1f} ms{_on(event.lead)}"
    if isinstance(event, Clipping):
        return f"clipping: {event.samples} samples at the limit within a second{_on(event.lead)}"
    return f"flatline: no signal change for {event.duration_s:.1f} s ({event.kind}){_on(event.lead)}"


def _mains(mains: Mains) -> str:
    hum = f"hum of {mains.frequency_hz:g} Hz"
    if mains.notch == "in":
        share = "" if mains.share is None else f", {100 * mains.share:.0f} % of the signal's power"
        return f"{hum}{share}; notch filter on"
    if mains.notch == "out":
        return f"{hum} is gone; notch filter off"
    return f"no notch filter for {hum} is possible at this sampling rate"


def _on(lead: str | None) -> str:
    return "" if lead is None else f" on {lead}"

"""The common part of `stream` and `demo`: a session of a serial link and a bundle's monitor, signals and exit codes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ecgmoe_edge.cli.output import say, say_missing_providers
from ecgmoe_edge.cli.signals import SWITCH, stopping_on_signals
from ecgmoe_edge.errors import DeviceError, EcgmoeError

if TYPE_CHECKING:
    from ecgmoe_edge.firmware_bridge import SerialLink, StreamInfo
    from ecgmoe_edge.live import Session, Sink
    from ecgmoe_edge.streaming import Monitor, RhythmLimits
    from ecgmoe_edge.streaming.events import End
    from ecgmoe_edge.streaming.signal.mains import MainsChoice


def run_live(
    link: SerialLink,
    bundle: Path | None,
    sinks: Sequence[Sink],
    *,
    invert: bool,
    mains: MainsChoice = "auto",
    seconds: float | None = None,
    limits: RhythmLimits | None = None,
    patient: Path | None = None,
) -> tuple[End, float]:
    """Classify the beats from a link and pass every event to every sink.

    If a sink has failed, the command ends with an error exit code after the end of the stream.

    Args:
        link: the open link.
        bundle: path of the bundle; None: the shipped one.
        sinks: they receive the events.
        invert: change the signal's polarity.
        mains: mains frequency of the notch filter.
        seconds: duration of signal after which to stop, including known losses; None: until the device ends.
        limits: of the rhythm events; None: the defaults.
        patient: file of the patient's own layer; None: the shared model alone. SIGUSR1 switches it off and on.

    Returns:
        The end event, and the device's sampling rate in Hz.
    """
    from ecgmoe_edge.live import FirstSeconds, Session
    from ecgmoe_edge.runtime import load_bundle, load_patient_layer, shipped_bundle
    from ecgmoe_edge.streaming import Monitor
    from ecgmoe_edge.streaming.input_checks import distinct_names

    model = load_bundle(bundle or shipped_bundle())
    say_missing_providers(model.engine.describe())
    layer = None if patient is None else load_patient_layer(patient, model)
    monitor: Monitor | None = None
    layer_active = layer is not None

    def make_monitor(info: StreamInfo) -> Monitor:
        nonlocal monitor
        names = distinct_names(info.leads)
        monitor = Monitor(model, info.fs, names, invert, mains=mains, limits=limits, layer=layer)
        monitor.use_patient_layer(layer_active)
        return monitor

    def switch_layer() -> None:
        nonlocal layer_active
        layer_active = not layer_active
        if monitor is not None:
            monitor.use_patient_layer(layer_active)

    source = link if seconds is None else FirstSeconds(link, seconds)
    session = Session(source, make_monitor, sinks, notify=say)
    try:
        with stopping_on_signals(session.stop, {} if layer is None else {SWITCH: switch_layer}):
            end = session.run()
    except DeviceError:
        _raise_if_reader_left(session)  # a reader that has left needs no error message
        raise
    _raise_if_reader_left(session)
    if any(report.failure is not None for report in session.reports):
        raise typer.Exit(EcgmoeError.exit_code)  # the session has already reported why
    return end, session.fs


def _raise_if_reader_left(session: Session) -> None:
    if any(report.reader_left for report in session.reports):
        raise BrokenPipeError

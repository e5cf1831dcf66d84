"""Runs the whole live pipeline of a bundle over a recording and measures the time of each stage."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import CalibrationRecording, load_calibration
from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.profiling.machine import read_machine
from ecgmoe_edge.profiling.report import ProfileReport, StageTimes
from ecgmoe_edge.profiling.sensors import PowerMeter, peak_memory_mib
from ecgmoe_edge.runtime.bundle import Bundle, load_bundle, shipped_bundle
from ecgmoe_edge.streaming.beat_model import ModelFunction
from ecgmoe_edge.streaming.events import Beat
from ecgmoe_edge.streaming.monitor import Monitor

_POWER_EVERY_S = 0.2  # wall time; sensors are read between pushes, so that reading is not timed


def profile_bundle(
    bundle: str | Path | None = None,
    recording: CalibrationRecording | None = None,
    *,
    chunk_ms: float = 100.0,
    seconds: float | None = None,
    runtime: str | None = None,
    sysfs_root: str | Path = "/",
) -> ProfileReport:
    """Profile a bundle on this machine. The recording is processed as fast as possible.

    Args:
        bundle: path of the bundle; None: the shipped one.
        recording: None: the shipped one.
        chunk_ms: signal per push, ms.
        seconds: length of the signal, s; a shorter recording is repeated. None: the whole recording once.
        runtime: as in `load_bundle`.
        sysfs_root: the file tree with /sys and /proc.

    Raises:
        UsageError: `seconds` or `chunk_ms` is not positive.
        EcgmoeError: what `load_bundle` raises.
    """
    if chunk_ms <= 0 or (seconds is not None and seconds <= 0):
        raise UsageError("--chunk-ms and --seconds must be greater than 0.")
    source, root = recording or load_calibration(), Path(sysfs_root)
    started = time.perf_counter()
    model = load_bundle(shipped_bundle() if bundle is None else bundle, runtime)
    loaded = time.perf_counter()
    _warm_up(model)
    warm = time.perf_counter()

    run = _Run(model, source, _signal(source, seconds), chunk_ms, PowerMeter(root))
    run.play()
    return ProfileReport(
        bundle=model.describe(),
        recording=source.source,
        chunk_ms=chunk_ms,
        signal_s=run.signal_s,
        beats=run.beats,
        stages={
            "front_end": StageTimes.of(run.front_end),
            "features": StageTimes.of(run.features),
            "inference": StageTimes.of(run.inference),
            "push": StageTimes.of(run.pushes),
        },
        real_time_factor=run.signal_s / sum(run.pushes),
        label_delay_ms_p95=float(np.percentile(run.delays_ms, 95)) if run.delays_ms else None,
        cpu_share=run.cpu_s / run.signal_s,
        load_ms=1e3 * (loaded - started),
        first_inference_ms=1e3 * (warm - loaded),
        peak_memory_mib=peak_memory_mib(root),
        power_w=run.power_w,
        power_missing=run.power_missing,
        machine=read_machine(root),
        streaming_engine=run.engine,
        streaming_engine_reason=run.engine_reason,
    )


class _Run:
    """One pass over a signal, with the times of its stages, s."""

    def __init__(
        self,
        bundle: Bundle,
        recording: CalibrationRecording,
        signal: NDArray[np.float64],
        chunk_ms: float,
        power: PowerMeter,
    ) -> None:
        self._bundle, self._signal, self._power = bundle, signal, power
        timed = ModelFunction(
            bundle.classes, bundle.decision, self._infer, context_samples=bundle.context_samples, batched=bundle.batched
        )
        monitor = Monitor(timed, recording.fs, recording.leads)
        self._stages = monitor.stages
        self.engine, self.engine_reason = monitor.engine, monitor.engine_reason
        self._inferred: list[float] = []  # times of the model in this push
        self._chunk = max(1, round(chunk_ms * recording.fs / 1e3))
        self.signal_s = signal.shape[1] / recording.fs
        self.pushes: list[float] = []
        self.front_end: list[float] = []
        self.features: list[float] = []  # model inputs and label, without inference
        self.inference: list[float] = []
        self.delays_ms: list[float] = []  # from R peak to label
        self.cpu_s = 0.0
        self.power_w: dict[str, float] | None = None
        self.power_missing: dict[str, float] = {}

    @property
    def beats(self) -> int:
        """Number of beats so far."""
        return len(self.inference)

    def play(self) -> None:
        """Push the whole signal."""
        began = read_at = time.perf_counter()
        self._power.sample()
        for start in range(0, self._signal.shape[1], self._chunk):
            chunk = self._signal[:, start : start + self._chunk]
            cpu, started = time.process_time(), time.perf_counter()
            self._inferred.clear()
            self._stages.detect(chunk)
            done = time.perf_counter()
            events = self._stages.label()
            now = time.perf_counter()
            self.cpu_s += time.process_time() - cpu
            self.pushes.append(now - started)
            self.front_end.append(done - started)
            self._note_beats([event for event in events if isinstance(event, Beat)], now - done)
            if now - read_at > _POWER_EVERY_S:
                self._power.sample()
                read_at = now
        self.power_w = self._power.mean_w(time.perf_counter() - began)
        self.power_missing = self._power.missing()

    def _infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        started = time.perf_counter()
        outputs = self._bundle.infer(inputs)
        self._inferred.append(time.perf_counter() - started)
        return outputs

    def _note_beats(self, beats: list[Beat], seconds: float) -> None:
        """Note the times of the beats of a push, which took `seconds` after the front end; each gets the same share."""
        if not beats:
            return
        inference = sum(self._inferred)
        one_by_one = len(self._inferred) == len(beats)
        self.inference += self._inferred if one_by_one else [inference / len(beats)] * len(beats)
        self.features += [(seconds - inference) / len(beats)] * len(beats)
        self.delays_ms += [beat.delay_ms for beat in beats]


def _warm_up(bundle: Bundle) -> None:
    """Run one inference: the first one takes longer in most runtimes."""
    bundle.infer({spec.name: np.zeros((1, *spec.shape[1:]), np.float32) for spec in bundle.engine.inputs})


def _signal(recording: CalibrationRecording, seconds: float | None) -> NDArray[np.float64]:
    """The recording's first `seconds`, repeated if it is shorter; (leads, samples), mV."""
    if seconds is None:
        return recording.signal
    samples = max(1, round(seconds * recording.fs))
    times = -(-samples // recording.signal.shape[1])
    return np.tile(recording.signal, (1, times))[:, :samples]

"""The result of a profile, as text and as JSON. A missing sensor is reported as "unavailable", never as 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ecgmoe_edge.profiling.budget import Budget
from ecgmoe_edge.profiling.machine import Machine
from ecgmoe_edge.runtime.engine import missing_providers

UNAVAILABLE = "unavailable"

# Stage: (what it does, what one measured time covers).
STAGES = {
    "front_end": ("filter, R peaks, windows, RR", "a push"),
    "features": ("model inputs and label rule", "a beat"),
    "inference": ("the model", "a beat"),
    "push": ("all stages", "a push"),
}


@dataclass(frozen=True)
class StageTimes:
    """Times of one stage in ms; None if it never ran."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, seconds: Sequence[float]) -> StageTimes:
        """Percentiles of times given in s.

        >>> StageTimes.of([0.001, 0.003]).p50
        2.0
        """
        if not seconds:
            return cls(0, None, None, None, None)
        ms = 1e3 * np.asarray(seconds, np.float64)
        p50, p95, p99 = (float(p) for p in np.percentile(ms, (50, 95, 99)))
        return cls(ms.size, p50, p95, p99, float(ms.max()))


@dataclass(frozen=True)
class ProfileReport:
    """Figures measured on this machine, whatever board the bundle was made for."""

    bundle: dict[str, Any]
    recording: str
    chunk_ms: float
    signal_s: float
    beats: int
    stages: dict[str, StageTimes]  # keys as in STAGES
    real_time_factor: float  # seconds of signal processed per second
    # R peak to label, counted in samples, so independent of the machine; None without a beat
    label_delay_ms_p95: float | None
    cpu_share: float  # processor time over signal duration: load of one core in live use
    load_ms: float  # time to verify the bundle, import the runtime and start the model
    first_inference_ms: float
    peak_memory_mib: float | None
    power_w: dict[str, float] | None  # mean of each rail during the run, over the readings that succeeded
    power_missing: dict[str, float]  # for each rail with failed readings, the fraction that failed, 0..1
    machine: Machine
    streaming_engine: str = "numpy"  # what ran the stages: "numpy" or "c"
    streaming_engine_reason: str | None = None  # why it is not the C engine; None if it is, or if numpy was asked for

    def to_json(self, budget: Budget | None = None) -> dict[str, Any]:
        """JSON-ready. A value without a sensor is "unavailable". The verdicts are under "budget"."""
        values = asdict(self)
        values["measured"] = "on this machine"
        values["providers_missing"] = missing_providers(self.bundle["engine"])
        for name in ("peak_memory_mib", "power_w"):
            values[name] = UNAVAILABLE if values[name] is None else values[name]
        values["machine"] = {name: UNAVAILABLE if fact is None else fact for name, fact in values["machine"].items()}
        if budget is not None:
            values["budget_of"] = {"profile": budget.profile, "machine": budget.machine}
            values["budget"] = budget.to_json()
        return values


def render_text(report: ProfileReport, budget: Budget | None = None) -> str:
    """The report as plain text, followed by the budget's verdicts if given."""
    return "\n".join([*_lines(report), *(budget.lines() if budget is not None else ())])


def _lines(report: ProfileReport) -> Iterator[str]:
    bundle, engine = report.bundle, report.bundle["engine"]
    model = f"{bundle['format']} {bundle['precision']}, width {bundle['width']}"
    yield f"{bundle['name']} ({model}), measured on this machine"
    yield f"  {engine['runtime']} {engine['version']}, {engine['threads']} thread(s)"
    why = "" if report.streaming_engine_reason is None else f" ({report.streaming_engine_reason})"
    yield f"  stages: {report.streaming_engine} engine{why}"
    yield f"  made for profile {bundle['profile']}"
    yield f"  {report.signal_s:.0f} s of {report.recording}"
    yield f"  pushed {report.chunk_ms:g} ms at a time, {report.beats:,} beats"
    yield f"{'ms':<12}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}"
    for name, (what, one) in STAGES.items():
        times = report.stages[name]
        cells = "".join(f"{_number(value):>9}" for value in (times.p50, times.p95, times.p99, times.max))
        yield f"{name:<12}{cells}  {what}; {one} ({times.count:,})"
    yield f"throughput  {report.real_time_factor:,.0f} times real time"
    yield f"live use    {100 * report.cpu_share:.2f} % of one core"
    yield f"start       {report.load_ms:.0f} ms to load, {report.first_inference_ms:.2f} ms for the first beat"
    memory = UNAVAILABLE if report.peak_memory_mib is None else f"{report.peak_memory_mib:.1f} MiB at most"
    yield f"memory      {memory}"
    yield f"power       {_readings(report.power_w, 'W')}"
    if report.power_missing:
        shares = ", ".join(f"{rail} {share:.0%}" for rail, share in report.power_missing.items())
        yield f"            readings that failed: {shares}"
    machine = report.machine
    yield f"processor   {machine.cpu or UNAVAILABLE}, {machine.architecture}"
    yield f"cores       {machine.cores or UNAVAILABLE}, {machine.usable_cores or UNAVAILABLE} of them usable"
    yield f"frequency   {_readings(machine.cpu_mhz, 'MHz')}"
    gpu = None if machine.gpu_mhz is None else {name: mhz["now"] for name, mhz in machine.gpu_mhz.items()}
    yield f"gpu         {_readings(gpu, 'MHz')}"
    yield f"temperature {_readings(machine.temperature_c, 'C')}"
    throttling = UNAVAILABLE if machine.throttling is None else ", ".join(machine.throttling) or "none"
    yield f"throttling  {throttling}"
    yield f"power mode  {machine.power_mode or UNAVAILABLE}"
    yield f"system      {machine.system}, Python {machine.python}, numpy {machine.numpy}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _readings(values: dict[str, float] | None, unit: str) -> str:
    if values is None:
        return UNAVAILABLE
    return ", ".join(f"{name} {value:.1f} {unit}" for name, value in values.items())

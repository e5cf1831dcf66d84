"""From a trained student to a bundle for a device profile: convert, compare, gate, and only then write."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import msgspec
from torch import nn

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.compress.merge import merge_student, select_tasks
from ecgmoe_edge.compress.qat import QatSettings, QatStudent, is_qat_file, load_qat
from ecgmoe_edge.converters import accuracy as accuracies
from ecgmoe_edge.converters.accuracy import AccuracyCheck
from ecgmoe_edge.converters.calibration import LEAST_BEATS, CalibrationBeats, delay_gate, on_enough, shipped_beats
from ecgmoe_edge.converters.experts import ModelSummary
from ecgmoe_edge.converters.model_card import model_card
from ecgmoe_edge.converters.operators import check_operators
from ecgmoe_edge.converters.parity import ParityLimits, ParityReport, compare, enforce, torch_model
from ecgmoe_edge.converters.precision import choose
from ecgmoe_edge.converters.targets import Target, target_named
from ecgmoe_edge.device_profiles import Profile
from ecgmoe_edge.errors import BundleError, ConversionError, RecordError
from ecgmoe_edge.model.student import Student, StudentConfig, load_student
from ecgmoe_edge.runtime.bundle import write_bundle
from ecgmoe_edge.runtime.engine import Engine
from ecgmoe_edge.runtime.manifest import DataSource, Gate, Manifest, Metrics, ModelEntry
from ecgmoe_edge.runtime.preprocessing import decision_to_manifest, installed_preprocessing
from ecgmoe_edge.streaming.beat_model import ModelFunction
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.tasks import TASK_CLASSES

_VERSIONED = ("ecgmoe-edge", "torch", "torchao")


@dataclass(frozen=True)
class ExportRequest:
    """What to export, and what to say about it."""

    weights: Path  # of a float student, or of one that was trained with quantization
    profile: Profile
    tasks: tuple[str, ...] | None = None  # None: the profile's
    calibration: CalibrationBeats | None = None  # None: the recording that ships with the package
    accuracy: AccuracyCheck | None = None  # None: those gates are written as not run
    decision: DecisionRule = field(default_factory=DecisionRule)
    training_data: tuple[DataSource, ...] = ()
    command: str = ""
    name: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class ExportResult:
    """A written bundle."""

    folder: Path
    manifest: Manifest
    model: ModelSummary
    parity: ParityReport
    notes: tuple[str, ...]  # what was decided on the way, for the user to read


def export_model(request: ExportRequest, out: Path) -> ExportResult:
    """Write the bundle of a student for a profile into the folder `out`, or nothing.

    Int8 comes from the weights' own quantization-aware training where they had it and it fits the profile; otherwise
    ranges are set from the calibration beats. Every file is compared with the PyTorch model it was made of.

    Raises:
        GateFailed: parity, size or accuracy is outside the profile's limit; nothing was written.
        ModelError: the weights cannot be read, or do not answer the tasks.
        ConversionError: the profile asks for what the student or a converter cannot give.
        RecordError: int8 ranges are to be set from fewer beats than `LEAST_BEATS`.
        BundleError: `out` holds something else.
    """
    profile = request.profile
    _refuse_target(out, request.overwrite)
    target = target_named(profile.runtime.format)
    target.refuse(profile)
    beats = request.calibration or shipped_beats()
    config, full, quantized, notes = _load(request)
    tasks = full.tasks
    check_operators(full, profile.runtime.engine)
    model, notes = _reference(request, config, full, quantized, beats, notes)
    with tempfile.TemporaryDirectory() as scratch:
        made, why = _decided(_made(model, profile, Path(scratch)), full, beats, Path(scratch) / "float32")
        parity = compare(torch_model(made.model)(beats.inputs), made.engine.run(beats.inputs))
        gates, metrics, left_out = _judge(request, config, full, made, parity, beats)
        enforce(gates)
        notes = (*notes, *(f"Left out of the accuracy gates: {name}: {why}" for name, why in left_out.items()))
        notes = (*notes, why) if why else notes
        manifest = _manifest(request, config, tasks, made, gates, metrics, why)
        path = made.summary.path
        files: dict[str, bytes | Path] = {**target.files(path), "MODEL_CARD.md": model_card(manifest).encode()}
        folder = write_bundle(out, manifest, files, overwrite=request.overwrite)
    return ExportResult(folder, manifest, replace(made.summary, path=folder / path.name), parity, notes)


@dataclass(frozen=True)
class _Made:
    """A file, the PyTorch model that it must equal, and the profile with the precision that it has."""

    profile: Profile
    model: nn.Module
    summary: ModelSummary
    engine: Engine


def _made(model: nn.Module, profile: Profile, folder: Path) -> _Made:
    folder.mkdir(exist_ok=True)
    target = target_named(profile.runtime.format)
    path = folder / target.file_name
    summary = target.convert(model, profile, path)
    return _Made(profile, model, summary, target.engine(path, profile))


def _decided(integer: _Made, full: Pieces, beats: CalibrationBeats, folder: Path) -> tuple[_Made, str]:
    """The int8 file, or its float32 twin where that is at least as fast and can be timed here; and why."""
    profile = integer.profile
    if profile.precision.precision != "int8":
        return integer, ""
    if not profile.precision.keep_float_if_not_better:
        return integer, f"int8, as the profile says: {integer.summary.bytes:,} bytes."
    unmeasured = target_named(profile.runtime.format).unmeasured_here(profile)
    if unmeasured:
        return integer, f"int8, {integer.summary.bytes:,} bytes; whether it is faster is unmeasured: {unmeasured}."
    twin = _made(full, _in_float(profile), folder)
    choice = choose(integer.engine, twin.engine, beats.inputs, (integer.summary.bytes, twin.summary.bytes))
    return (integer if choice.precision == "int8" else twin), choice.why


def _in_float(profile: Profile) -> Profile:
    precision = msgspec.structs.replace(profile.precision, precision="float32", activations="float32")
    return msgspec.structs.replace(profile, precision=precision)


def float_pieces(request: ExportRequest) -> Pieces:
    """The float student of a request, merged, for its tasks; see `export_model` for what may go wrong."""
    return _load(request)[1]


def _refuse_target(out: Path, overwrite: bool) -> None:
    """Say before minutes of work what `write_bundle` would say after them."""
    if out.exists() and not overwrite and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(f"{out} is not empty. Remove it, or choose another folder with -o.")


def _load(request: ExportRequest) -> tuple[StudentConfig, Pieces, QatStudent | None, tuple[str, ...]]:
    """Configuration, float pieces for the wanted tasks, and the QAT student if the weights are one."""
    wanted = request.tasks or request.profile.model.tasks
    quantized: QatStudent | None = None
    if is_qat_file(request.weights):
        quantized = load_qat(request.weights)
        config, full = quantized.config, quantized.float_pieces()
    else:
        student = load_student(request.weights)
        config, full = student.config, merge_student(student)
    tasks = tuple(task for task in wanted if task in full.tasks) if request.tasks is None else tuple(wanted)
    full = select_tasks(full, tasks)
    notes: tuple[str, ...] = ()
    if config.width != request.profile.model.width:
        notes = (f"The student is {config.width}; the profile is meant for {request.profile.model.width}.",)
    left_out = [task for task in wanted if task not in tasks]
    if left_out:
        notes = (*notes, f"The student does not answer {', '.join(left_out)}: left out.")
    return config, full, quantized, notes


def _reference(
    request: ExportRequest,
    config: StudentConfig,
    full: Pieces,
    quantized: QatStudent | None,
    beats: CalibrationBeats,
    notes: tuple[str, ...],
) -> tuple[nn.Module, tuple[str, ...]]:
    """The PyTorch model that the file must equal: float pieces, or the integer student."""
    precision = request.profile.precision
    if precision.precision == "float32":
        return full, notes
    if not precision.per_channel_weights:
        raise ConversionError("Weights are quantized per channel only. Set per_channel_weights = true in the profile.")
    settings = QatSettings(tasks=full.tasks, symmetric=precision.symmetric_activations)
    if quantized is not None and replace(quantized.settings, averaging=settings.averaging) == settings:
        return quantized.convert(), (*notes, "Ranges are those of the quantization-aware training.")
    why = "the weights had no quantization-aware training" if quantized is None else "it was for other tasks or grids"
    if len(beats) < LEAST_BEATS:
        raise RecordError(
            f"{len(beats)} beats of {beats.source} are too few to set int8 ranges from: calibrate on {LEAST_BEATS} at "
            "least, some minutes of ECG."
        )
    calibrated = QatStudent(Student(config), settings, merged=full)
    calibrated.calibrate(beats.batches())
    return calibrated.to_eval().convert(), (*notes, f"Ranges are set from {len(beats)} calibration beats: {why}.")


def _judge(
    request: ExportRequest,
    config: StudentConfig,
    full: Pieces,
    made: _Made,
    parity: ParityReport,
    beats: CalibrationBeats,
) -> tuple[tuple[Gate, ...], tuple[Metrics, ...], Mapping[str, str]]:
    """The gates, the figures that belong to them, and the records that could not be scored."""
    profile, summary = made.profile, made.summary
    limits, memory = profile.gates, profile.memory
    integer = profile.precision.precision == "int8"
    difference = limits.int8_logit_difference if integer else limits.float_logit_difference
    experts = config.morphology_experts + config.rhythm_experts
    file = summary.path.name
    gates = [
        Gate.judge("experts in the file", sum(summary.experts.values()), experts, "at least", data=file),
        Gate.judge("size", summary.bytes / 1024, memory.model_kib, "at most", data=file, unit="KiB"),
    ]
    gates += target_named(profile.runtime.format).gates(summary.path, profile)
    gates.append(delay_gate(beats, profile.latency.label_delay_ms_p95))
    limited = ParityLimits(difference, limits.route_agreement, limits.label_agreement)
    of_parity = tuple(on_enough(parity.beats, gate) for gate in parity.gates(limited, beats.source))
    enforce(gates)
    classes = _classes(full.tasks)
    enforce(of_parity, [one.said(beats.place(one.beat), classes) for one in parity.differences])
    gates += of_parity
    if request.accuracy is None or "beat" not in full.tasks:
        why = "no annotated recordings were given (--data or ECGMOE_DATA)"
        return (*gates, *accuracies.not_run(why, limits.accuracy_drop_points)), (), {}
    result = request.accuracy(
        ModelFunction(classes, request.decision, torch_model(full)),
        ModelFunction(classes, request.decision, made.engine.run),
    )
    enforce(result.gates, result.shown)
    metrics = () if result.metrics is None else (result.metrics,)
    return (*gates, *result.gates), metrics, result.left_out


def _classes(tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {task: TASK_CLASSES[task] for task in tasks}


def _manifest(
    request: ExportRequest,
    config: StudentConfig,
    tasks: tuple[str, ...],
    made: _Made,
    gates: tuple[Gate, ...],
    metrics: tuple[Metrics, ...],
    why: str,
) -> Manifest:
    profile, summary, engine = made.profile, made.summary, made.engine
    entry = ModelEntry(
        format=profile.runtime.format,
        file=summary.path.name,
        precision=profile.precision.precision,
        dispatch=profile.model.dispatch,
        experts=dict(summary.experts),
        activations=profile.precision.activations,
        providers=profile.runtime.providers or ("CPUExecutionProvider",),
        threads=profile.runtime.threads,
        parameters=summary.parameters,
        why_precision=why,
    )
    return Manifest(
        name=request.name or f"ecgmoe-{profile.name}",
        created=datetime.now(timezone.utc).replace(microsecond=0),
        profile=profile.name,
        width=config.width,
        classes=_classes(tasks),
        preprocessing=installed_preprocessing(),
        decision=decision_to_manifest(request.decision),
        inputs=engine.inputs,
        outputs=engine.outputs,
        model=entry,
        gates=gates,
        metrics=metrics,
        versions=_versions(target_named(profile.runtime.format)),
        training_data=request.training_data,
        command=request.command,
    )


def _versions(target: Target) -> dict[str, str]:
    installed = {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}
    return {name: installed[name] for name in (*_VERSIONED, *target.distributions) if name in installed}

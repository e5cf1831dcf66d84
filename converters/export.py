"""Export of a trained student as a bundle for a device profile.

The student is converted, compared with PyTorch and checked against the gates. Only then is the bundle written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import msgspec
from torch import nn

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.compress.merge import merge_student, select_tasks
from ecgmoe_edge.compress.qat import QatSettings, QatStudent, is_qat_file, load_qat
from ecgmoe_edge.converters.accuracy import AccuracyCheck, AccuracyResult, not_run_gates
from ecgmoe_edge.converters.beat_macs import TakenRoutes, beat_macs
from ecgmoe_edge.converters.calibration import LEAST_BEATS, CalibrationBeats, delay_gate, not_run_if_few, shipped_beats
from ecgmoe_edge.converters.file_contents import ModelSummary
from ecgmoe_edge.converters.model_card import model_card
from ecgmoe_edge.converters.operators import check_operators
from ecgmoe_edge.converters.parity import ParityLimits, ParityReport, compare, enforce, torch_model
from ecgmoe_edge.converters.precision import choose_precision
from ecgmoe_edge.converters.targets import Target, target_named
from ecgmoe_edge.device_profiles import Profile
from ecgmoe_edge.errors import BundleError, ConversionError, RecordError
from ecgmoe_edge.model.student import Student, StudentConfig, load_student
from ecgmoe_edge.runtime.bundle import write_bundle
from ecgmoe_edge.runtime.compatibility import decision_to_manifest, installed_preprocessing
from ecgmoe_edge.runtime.engine import Engine
from ecgmoe_edge.runtime.manifest import BeatMacs, DataSource, Gate, Manifest, Metrics, ModelEntry
from ecgmoe_edge.streaming.beat_model import ModelFunction
from ecgmoe_edge.streaming.decision import DecisionRule

_VERSIONED = ("ecgmoe-edge", "torch", "torchao")


@dataclass(frozen=True)
class ExportRequest:
    """What to export, and the statements that go into the manifest."""

    weights: Path  # weights of a float student or of a QAT student
    profile: Profile
    tasks: tuple[str, ...] | None = None  # None takes the tasks of the profile
    calibration: CalibrationBeats | None = None  # None takes the recording that ships with the package
    accuracy: AccuracyCheck | None = None  # None writes the accuracy gates as not run
    decision: DecisionRule = field(default_factory=DecisionRule)
    training_data: tuple[DataSource, ...] = ()
    command: str = ""
    name: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class ExportResult:
    """A bundle that was written."""

    folder: Path
    manifest: Manifest
    model: ModelSummary
    parity: ParityReport
    notes: tuple[str, ...]  # decisions that the export made, for the user to read


def export_model(request: ExportRequest, out: Path) -> ExportResult:
    """Export a student for a profile and write the bundle into the folder `out`.

    For int8, the ranges come from quantization-aware training if the weights were trained with it for these tasks and
    this kind of quantization. Otherwise they are set from the calibration beats. The file is compared with the PyTorch
    model that it was converted from. If an error is raised, nothing was written.

    Args:
        request: what to export.
        out: the folder of the bundle.

    Raises:
        GateFailed: parity, size or accuracy is outside the limits of the profile.
        ModelError: the weights cannot be read, or have no head for one of the tasks.
        ConversionError: the student or the converter does not support what the profile requires.
        RecordError: there are fewer than `LEAST_BEATS` beats to set the int8 ranges from.
        BundleError: `out` is not empty and the request does not allow overwriting.
    """
    profile = request.profile
    _refuse_occupied(out, request.overwrite)
    target = target_named(profile.runtime.format)
    target.refuse(profile)
    beats = request.calibration or shipped_beats()
    config, full, quantized, notes = _load(request)
    tasks = full.tasks
    check_operators(full, profile.runtime.engine)
    model, notes = _reference_model(request, config, full, quantized, beats, notes)
    with tempfile.TemporaryDirectory() as scratch:
        exported, why = _choose_file(_convert(model, profile, Path(scratch)), full, beats, Path(scratch) / "float32")
        outputs = exported.engine.run(beats.inputs)
        parity = compare(torch_model(exported.model)(beats.inputs), outputs)
        gates, accuracy = _run_gates(request, config, full, exported, parity, beats)
        enforce(gates)
        left_out = accuracy.left_out.items()
        notes = (*notes, *(f"Left out of the accuracy gates: {name}: {why}" for name, why in left_out))
        notes = (*notes, why) if why else notes
        routes = accuracy.routes or TakenRoutes(beats.source)
        if accuracy.routes is None:
            routes.add(outputs)
        macs = beat_macs(exported.summary.path, replace(config, tasks=tasks), routes)
        manifest = _manifest(request, config, tasks, exported, (gates, accuracy.metrics, macs), why)
        path = exported.summary.path
        files: dict[str, bytes | Path] = {**target.files(path), "MODEL_CARD.md": model_card(manifest).encode()}
        folder = write_bundle(out, manifest, files, overwrite=request.overwrite)
    return ExportResult(folder, manifest, replace(exported.summary, path=folder / path.name), parity, notes)


@dataclass(frozen=True)
class _Exported:
    """A converted file, the PyTorch model that it must equal, and the profile with the file's actual precision."""

    profile: Profile
    model: nn.Module
    summary: ModelSummary
    engine: Engine


def _convert(model: nn.Module, profile: Profile, folder: Path) -> _Exported:
    folder.mkdir(exist_ok=True)
    target = target_named(profile.runtime.format)
    path = folder / target.file_name
    summary = target.convert(model, profile, path)
    return _Exported(profile, model, summary, target.engine(path, profile))


def _choose_file(integer: _Exported, full: Pieces, beats: CalibrationBeats, folder: Path) -> tuple[_Exported, str]:
    """Choose between the int8 file and the same student in float32.

    float32 is chosen only if the profile allows it and a measurement on this machine shows that it is clearly faster.

    Returns:
        The chosen file, and the reason as a sentence (empty for a float32 profile).
    """
    profile = integer.profile
    if profile.precision.precision != "int8":
        return integer, ""
    if not profile.precision.keep_float_if_not_better:
        return integer, f"int8, as the profile says: {integer.summary.bytes:,} bytes."
    unmeasured = target_named(profile.runtime.format).unmeasured_here(profile)
    if unmeasured:
        return integer, f"int8, {integer.summary.bytes:,} bytes. Whether it is faster is not measured: {unmeasured}."
    in_float = _convert(full, _as_float32(profile), folder)
    sizes = (integer.summary.bytes, in_float.summary.bytes)
    choice = choose_precision(integer.engine, in_float.engine, beats.inputs, sizes)
    return (integer if choice.precision == "int8" else in_float), choice.why


def _as_float32(profile: Profile) -> Profile:
    precision = msgspec.structs.replace(profile.precision, precision="float32", activations="float32")
    return msgspec.structs.replace(profile, precision=precision)


def float_pieces(request: ExportRequest) -> Pieces:
    """Load the merged float student of a request, for its tasks.

    Raises:
        ModelError: the weights cannot be read, or have no head for one of the tasks.
    """
    return _load(request)[1]


def _refuse_occupied(out: Path, overwrite: bool) -> None:
    """Refuse an occupied output folder at once; `write_bundle` would refuse it only after minutes of work."""
    if out.exists() and not overwrite and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(f"{out} is not empty. Remove it, or choose another folder with -o.")


def _load(request: ExportRequest) -> tuple[StudentConfig, Pieces, QatStudent | None, tuple[str, ...]]:
    """Load configuration, float pieces of the wanted tasks, the QAT student if the file holds one, and notes."""
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
    for path, bank in full.banks().items():
        if len(bank) < 2:
            raise ConversionError(
                f"{request.weights} has only one {path} expert, and a file selects one of at least two for each beat; "
                "distil a student with several."
            )
    notes: tuple[str, ...] = ()
    if config.width != request.profile.model.width:
        notes = (f"The student has width {config.width}; the profile is meant for {request.profile.model.width}.",)
    left_out = [task for task in wanted if task not in tasks]
    if left_out:
        notes = (*notes, f"Left out, since the student has no head for them: {', '.join(left_out)}.")
    return config, full, quantized, notes


def _reference_model(
    request: ExportRequest,
    config: StudentConfig,
    full: Pieces,
    quantized: QatStudent | None,
    beats: CalibrationBeats,
    notes: tuple[str, ...],
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the PyTorch model that the file must equal (float pieces or int8 student), and the notes."""
    precision = request.profile.precision
    if precision.precision == "float32":
        return full, notes
    if not precision.per_channel_weights:
        raise ConversionError(
            "Only per-channel quantization of weights is supported. Set per_channel_weights = true in the profile."
        )
    settings = QatSettings(tasks=full.tasks, symmetric=precision.symmetric_activations)
    if quantized is not None and replace(quantized.settings, averaging=settings.averaging) == settings:
        return quantized.convert(), (*notes, "The int8 ranges come from quantization-aware training.")
    why = (
        "the weights were not trained with quantization"
        if quantized is None
        else "the quantization-aware training was for other tasks or another kind of zero point"
    )
    if len(beats) < LEAST_BEATS:
        raise RecordError(
            f"{len(beats)} beats of {beats.source} are too few to set int8 ranges. Calibrate on at least {LEAST_BEATS} "
            "beats, better on some minutes of ECG."
        )
    calibrated = QatStudent(Student(config), settings, merged=full)
    calibrated.calibrate(beats.batches())
    return calibrated.to_eval().convert(), (
        *notes,
        f"The int8 ranges are set from {len(beats)} calibration beats: {why}.",
    )


def _run_gates(
    request: ExportRequest,
    config: StudentConfig,
    full: Pieces,
    exported: _Exported,
    parity: ParityReport,
    beats: CalibrationBeats,
) -> tuple[tuple[Gate, ...], AccuracyResult]:
    """Run all gates; return them, and the result of the accuracy gates, which are among them."""
    profile, summary = exported.profile, exported.summary
    limits, memory = profile.gates, profile.memory
    integer = profile.precision.precision == "int8"
    difference = limits.int8_logit_difference if integer else limits.float_logit_difference
    experts = len(config.morphology_widths) + config.rhythm_experts
    file = summary.path.name
    gates = [
        Gate.judge("experts in the file", sum(summary.experts.values()), experts, "at least", data=file),
        Gate.judge("size", summary.bytes / 1024, memory.model_kib, "at most", data=file, unit="KiB"),
    ]
    gates += target_named(profile.runtime.format).gates(summary.path, profile)
    gates.append(delay_gate(beats, profile.latency.label_delay_ms_p95))
    parity_limits = ParityLimits(difference, limits.route_agreement, limits.label_agreement)
    parity_gates = tuple(not_run_if_few(parity.beats, gate) for gate in parity.gates(parity_limits, beats.source))
    enforce(gates)
    classes = _classes(config, full.tasks)
    enforce(parity_gates, [one.describe(beats.location(one.beat), classes) for one in parity.differences])
    gates += parity_gates
    if request.accuracy is None or "beat" not in full.tasks:
        why = "no annotated recordings were given (--data or ECGMOE_DATA)"
        unknown = AccuracyResult(not_run_gates(why, limits.accuracy_drop_points), None)
        return (*gates, *unknown.gates), unknown
    result = request.accuracy(
        ModelFunction(classes, request.decision, torch_model(full)),
        ModelFunction(classes, request.decision, exported.engine.run),
    )
    enforce(result.gates, result.changed_beats)
    return (*gates, *result.gates), result


def _classes(config: StudentConfig, tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {task: config.classes[task] for task in tasks}


def _manifest(
    request: ExportRequest,
    config: StudentConfig,
    tasks: tuple[str, ...],
    exported: _Exported,
    found: tuple[tuple[Gate, ...], Metrics | None, BeatMacs],
    why: str,
) -> Manifest:
    gates, metrics, macs = found
    profile, summary, engine = exported.profile, exported.summary, exported.engine
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
        macs=macs,
    )
    return Manifest(
        name=request.name or f"ecgmoe-{profile.name}",
        created=datetime.now(timezone.utc).replace(microsecond=0),
        profile=profile.name,
        width=config.width,
        classes=_classes(config, tasks),
        preprocessing=installed_preprocessing(),
        decision=decision_to_manifest(request.decision),
        inputs=engine.inputs,
        outputs=engine.outputs,
        model=entry,
        gates=gates,
        metrics=() if metrics is None else (metrics,),
        versions=_versions(target_named(profile.runtime.format)),
        training_data=request.training_data,
        command=request.command,
    )


def _versions(target: Target) -> dict[str, str]:
    installed = {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}
    return {name: installed[name] for name in (*_VERSIONED, *target.distributions) if name in installed}

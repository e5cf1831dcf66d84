"""Typed contents of a bundle's `manifest.json`; unknown keys are refused."""

from __future__ import annotations

import math
import re
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ecgmoe_edge.contract import route_name
from ecgmoe_edge.device_profiles.formats import FORMATS
from ecgmoe_edge.errors import BundleError

SCHEMA_VERSION = 1
MOST_THREADS = 256
MANIFEST_NAME = "manifest.json"
INTENDED_USE = "Research software. Not a medical device: not for diagnosis, treatment or patient monitoring."

NumberFormat = Literal["float32", "int8"]
ActivationFormat = Literal["float32", "int8", "uint8"]
Dispatch = Literal["if", "host", "dense"]
GateStatus = Literal["passed", "failed", "not run"]
Sense = Literal["at most", "at least", ""]
Positive = Annotated[int, Meta(gt=0)]
Size = Annotated[int, Meta(gt=0, le=1 << 20)]  # one dimension of a tensor
Count = Annotated[int, Meta(gt=0, le=256)]  # number of experts
Macs = Annotated[int, Meta(ge=0, le=10**12)]  # multiply-accumulates
MeanMacs = Annotated[float, Meta(ge=0, le=1e12)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
OptionalName = Annotated[str, Meta(max_length=200, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]  # may be empty
Text = Annotated[str, Meta(max_length=20_000)]
Rate = Annotated[float, Meta(gt=0, le=1e6)]  # Hz
Sample = Annotated[int, Meta(ge=-100_000, le=100_000)]
_LARGEST_TENSOR = 1 << 20  # number of elements
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-20, 1e20

_ZERO_POINTS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # not JSON, not UTF-8, nested too deeply


class TensorSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One input or output of the model.

    `name` is the name in `ecgmoe_edge.contract`, such as "beat" or "route_rhythm". `in_file` is the name in the model
    file if it differs: in ONNX, an input and an output cannot both be called "beat". `scale` and `zero_point` are given
    if the tensor has an integer type: real = (stored - zero_point) * scale.
    """

    name: Name
    shape: tuple[Size, ...]
    dtype: Literal["float32", "int8", "uint8", "int16"] = "float32"
    scale: float | None = None
    zero_point: int | None = None
    in_file: OptionalName = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.shape) <= 8 or math.prod(self.shape) > _LARGEST_TENSOR:
            raise ValueError(
                f"tensor {self.name}: a shape has 1 to 8 dimensions and at most {_LARGEST_TENSOR:,} elements"
            )
        if (self.dtype == "float32") != (self.scale is None) or (self.scale is None) != (self.zero_point is None):
            raise ValueError(
                f"tensor {self.name}: an integer tensor needs scale and zero_point, a float one has neither"
            )
        if self.scale is not None and not _SMALLEST_SCALE <= self.scale <= _LARGEST_SCALE:
            raise ValueError(
                f"tensor {self.name}: scale must be a number from {_SMALLEST_SCALE:g} to {_LARGEST_SCALE:g}"
            )
        if self.zero_point is not None:
            least, most = _ZERO_POINTS[self.dtype]
            if not least <= self.zero_point <= most:
                raise ValueError(f"tensor {self.name}: zero_point {self.zero_point} is outside {self.dtype}")

    @property
    def file_name(self) -> str:
        """The tensor's name inside the model file."""
        return self.in_file or self.name


class Preprocessing(Struct, frozen=True, forbid_unknown_fields=True):
    """Preprocessing that the model was trained with; the front end of the monitor must do exactly the same.

    The beat window has the samples `grid_first` to `grid_last` at `model_rate_hz`, relative to the R peak. It is
    divided by the running R amplitude and clipped to +-`waveform_limit`. A feature is (raw - centre) / scale, clipped
    to +-`feature_limit`.
    """

    model_rate_hz: Rate
    band_hz: tuple[Rate, Rate]
    grid_first: Sample
    grid_last: Sample
    waveform_limit: float
    feature_limit: float
    feature_names: tuple[Name, ...]
    feature_centre: tuple[float, ...]
    feature_scale: tuple[float, ...]
    rr_sequence_length: Size


class BeatMacs(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Multiply-accumulates with a weight for one beat: trunk, routers, one expert of each path, and tail.

    Mean, 95th percentile and the shares of the experts are those of the `beats` beats of `data`. Without enough beats,
    they are absent, and `why` says so.
    """

    max_macs: Macs  # with the most expensive expert of each path
    dense_twin_macs: Macs  # of the same student with the full morphology expert alone and one rhythm expert
    mean_macs: MeanMacs | None = None
    p95_macs: MeanMacs | None = None
    data: Text = ""
    beats: Annotated[int, Meta(ge=0, le=10**9)] = 0
    expert_shares: dict[Name, tuple[Share, ...]] = {}  # fraction of the beats that each expert ran for, by path
    why: Text = ""

    def __post_init__(self) -> None:
        known = self.mean_macs is not None and self.p95_macs is not None
        if (self.mean_macs is None) != (self.p95_macs is None):
            raise ValueError("macs has either both or neither of mean_macs and p95_macs")
        if known and not (self.data and self.beats):
            raise ValueError("macs has a mean, but does not name the beats that it was counted on")
        if not known and not self.why:
            raise ValueError("macs has no mean and gives no reason")
        if known and max(self.mean_macs or 0.0, self.p95_macs or 0.0) > self.max_macs:
            raise ValueError("macs has a mean or a 95th percentile above max_macs")


class ModelEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """The model file and how to run it.

    `experts` is the number of experts of each path; for each beat, one of them runs. `why_precision` says how the
    precision was chosen. `macs` is absent in the bundles of older versions.
    """

    format: str
    file: Name
    precision: NumberFormat
    dispatch: Dispatch
    experts: dict[Name, Count]
    activations: ActivationFormat = "float32"
    providers: tuple[Name, ...] = ("CPUExecutionProvider",)
    threads: Annotated[int, Meta(gt=0, le=MOST_THREADS)] = 1
    parameters: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    why_precision: Text = ""
    macs: BeatMacs | None = None

    def __post_init__(self) -> None:
        for path, shares in ({} if self.macs is None else self.macs.expert_shares).items():
            if len(shares) != self.experts.get(path):
                raise ValueError(f"path {path} has {self.experts.get(path, 0)} experts and {len(shares)} shares")
        if self.format not in FORMATS:
            raise ValueError(f"format {self.format!r} is not known; this version knows {', '.join(FORMATS)}")


class Gate(Struct, frozen=True, forbid_unknown_fields=True):
    """One check of the export. A check whose data were missing is "not run", never "passed"."""

    name: Name
    status: GateStatus
    data: Text = ""  # name of the data
    value: float | None = None
    limit: float | None = None
    sense: Sense = ""  # relation of the value to the limit
    unit: OptionalName = ""
    why: Text = ""  # why it was not run

    def __post_init__(self) -> None:
        if self.status == "not run":
            if not self.why:
                raise ValueError(f"gate {self.name} was not run and gives no reason")
            return
        if self.value is None or self.limit is None or not self.sense or not self.data:
            if self.status == "passed":
                raise ValueError(f"gate {self.name} is passed but lacks value, limit, sense or data")
        elif _holds(self.value, self.limit, self.sense) != (self.status == "passed"):
            raise ValueError(
                f"gate {self.name} is {self.status}, but its value {self.value} must be {self.sense} {self.limit}"
            )

    @classmethod
    def judge(
        cls,
        name: str,
        value: float,
        limit: float,
        sense: Literal["at most", "at least"],
        *,
        data: str,
        unit: str = "",
    ) -> Gate:
        """Compare `value` with its limit. A value that is not finite fails."""
        finite = math.isfinite(value)
        status: GateStatus = "passed" if finite and _holds(value, limit, sense) else "failed"
        return cls(name, status, data, float(value) if finite else None, float(limit), sense, unit)

    @classmethod
    def not_run(cls, name: str, why: str, *, limit: float | None = None, sense: Sense = "", unit: str = "") -> Gate:
        """A gate that could not run, with the reason."""
        return cls(name, "not run", limit=limit, sense=sense, unit=unit, why=why)


def _holds(value: float, limit: float, sense: Sense) -> bool:
    return value <= limit if sense == "at most" else value >= limit


class Metrics(Struct, frozen=True, forbid_unknown_fields=True):
    """Figures of the full-precision and of the exported model on the same data, by the same names."""

    data: Text
    full_precision: dict[Name, float | None]
    exported: dict[Name, float | None]


class DataSource(Struct, frozen=True, forbid_unknown_fields=True):
    """Data that the model was trained or calibrated with, and their licence."""

    name: Name
    licence: Text
    use: Text
    citation: Text = ""


class FileEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """Size and sha256 of one file of the bundle."""

    sha256: str
    bytes: Annotated[int, Meta(ge=0, le=1 << 40)]

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError("a sha256 has 64 hexadecimal digits, in lower case")


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of `manifest.json`. For `decision` see `compatibility.decision_from_manifest`."""

    schema: int = SCHEMA_VERSION
    name: Name
    created: datetime
    profile: Name
    width: OptionalName = ""
    classes: dict[Name, tuple[Name, ...]]  # classes of each task, in the order of its logits
    preprocessing: Preprocessing
    decision: dict[str, Any]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    model: ModelEntry
    gates: tuple[Gate, ...] = ()
    metrics: tuple[Metrics, ...] = ()
    versions: dict[Name, OptionalName] = {}
    training_data: tuple[DataSource, ...] = ()
    licence: Text = "Apache-2.0"
    intended_use: Text = INTENDED_USE
    command: Text = ""
    files: dict[str, FileEntry] = {}

    def __post_init__(self) -> None:
        outputs = {spec.name: spec for spec in self.outputs}
        for what, specs in (("input", self.inputs), ("output", self.outputs)):
            if not specs or len({spec.name for spec in specs}) != len(specs):
                raise ValueError(f"there must be at least one {what}, and no two with the same name")
        for task, names in self.classes.items():
            if task not in outputs:
                raise ValueError(f"task {task} has classes but no output")
            if outputs[task].shape[-1] != len(names):
                raise ValueError(f"task {task} has {len(names)} classes and an output of {outputs[task].shape[-1]}")
        for path, count in self.model.experts.items():
            route = outputs.get(route_name(path))
            if route is not None and route.shape[-1] != count:
                raise ValueError(f"path {path} has {count} experts and a router of {route.shape[-1]}")
        for name in self.files:
            check_file_name(name)

    @property
    def failed_gates(self) -> tuple[Gate, ...]:
        """The gates whose value is outside the limit."""
        return tuple(gate for gate in self.gates if gate.status == "failed")


class _SchemaOnly(Struct):
    schema: int


def check_file_name(name: str) -> None:
    """Check a file name of a bundle.

    Raises:
        BundleError: it leads out of the bundle, is too long, or is that of the manifest.
    """
    parts = PurePosixPath(name).parts
    clean = name == "/".join(parts) and not name.startswith("/") and "\\" not in name and ":" not in name
    if not clean or ".." in parts or not parts or not name.isprintable():
        raise BundleError(f"The bundle names a file {name!r}, which leads out of it. Do not use it; ask for it again.")
    if len(name) > 200:
        raise BundleError(f"The bundle names a file {name[:40]!r}..., whose name is too long. Do not use it.")
    if name == MANIFEST_NAME:
        raise BundleError(f"{MANIFEST_NAME} cannot list itself among its files. Make the bundle again.")


def decode_manifest(raw: bytes, where: str) -> Manifest:
    """Decode a manifest.

    Args:
        raw: bytes of `manifest.json`.
        where: the bundle, for messages.

    Raises:
        BundleError: it is not a manifest, or one of another version.
    """
    try:
        schema = msgspec.json.decode(raw, type=_SchemaOnly).schema
    except _UNREADABLE as error:
        raise BundleError(f"{where}: {MANIFEST_NAME} is not a bundle's manifest ({error}).") from error
    if schema != SCHEMA_VERSION:
        raise BundleError(
            f"{where} has manifest schema {schema}; this version of ecgmoe-edge reads {SCHEMA_VERSION}. "
            "Export the bundle with this version, or install the version that made it."
        )
    try:
        return msgspec.json.decode(raw, type=Manifest)
    except _UNREADABLE as error:
        raise BundleError(
            f"{where}: {MANIFEST_NAME} is invalid ({error}). "
            "It was edited or made by another version: export the bundle again."
        ) from error


def encode_manifest(manifest: Manifest) -> bytes:
    """Encode a manifest as indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"

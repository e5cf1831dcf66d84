"""What `manifest.json` of a bundle says: typed, and with no key that nobody knows."""

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
Size = Annotated[int, Meta(gt=0, le=1 << 20)]  # of one dimension of a tensor
Count = Annotated[int, Meta(gt=0, le=256)]  # of experts
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
NoName = Annotated[str, Meta(max_length=200, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]  # may be empty
Text = Annotated[str, Meta(max_length=20_000)]
Rate = Annotated[float, Meta(gt=0, le=1e6)]  # Hz
Sample = Annotated[int, Meta(ge=-100_000, le=100_000)]
_LARGEST_TENSOR = 1 << 20  # numbers
_SCALES = (1e-20, 1e20)

_ZERO_POINTS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # no JSON, no UTF-8, nested without end


class TensorSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One input or output of the model.

    `name` is the package's own name of it ("beat", "rr_sequence", "route_rhythm" ...); `in_file` the name
    inside the model file where that differs (in ONNX an input and an output cannot both be called "beat").
    `scale` and `zero_point` are given where the file itself takes or gives integers: real = (stored -
    zero_point) * scale.
    """

    name: Name
    shape: tuple[Size, ...]
    dtype: Literal["float32", "int8", "uint8", "int16"] = "float32"
    scale: float | None = None
    zero_point: int | None = None
    in_file: NoName = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.shape) <= 8 or math.prod(self.shape) > _LARGEST_TENSOR:
            raise ValueError(f"tensor {self.name}: a shape has 1 to 8 sizes and at most {_LARGEST_TENSOR:,} numbers")
        if (self.dtype == "float32") != (self.scale is None) or (self.scale is None) != (self.zero_point is None):
            raise ValueError(
                f"tensor {self.name}: an integer tensor needs scale and zero_point, a float one has neither"
            )
        if self.scale is not None and not _SCALES[0] <= self.scale <= _SCALES[1]:
            least, most = _SCALES
            raise ValueError(f"tensor {self.name}: scale must be a number from {least:g} to {most:g}")
        if (
            self.zero_point is not None
            and not _ZERO_POINTS[self.dtype][0] <= self.zero_point <= _ZERO_POINTS[self.dtype][1]
        ):
            raise ValueError(f"tensor {self.name}: zero_point {self.zero_point} is no {self.dtype}")

    @property
    def file_name(self) -> str:
        """The tensor's name inside the model file."""
        return self.in_file or self.name


class Preprocessing(Struct, frozen=True, forbid_unknown_fields=True):
    """What the model was trained on: it must be exactly what the front end that feeds it gives.

    The beat window is the grid `grid_first` .. `grid_last` in samples at `model_rate_hz` round the R peak,
    over the running R amplitude and within +-`waveform_limit`. A feature is (raw - centre) / scale, within
    +-`feature_limit`.
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


class ModelEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """The model file and how it is run. `experts` counts the experts of each path; one of each runs a beat.

    `why_precision` says how the precision was decided.
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

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format {self.format!r} is not known; this version knows {', '.join(FORMATS)}")


class Gate(Struct, frozen=True, forbid_unknown_fields=True):
    """One check that the export had to pass. A check without its data is "not run", never "passed"."""

    name: Name
    status: GateStatus
    data: Text = ""  # what it ran on
    value: float | None = None
    limit: float | None = None
    sense: Sense = ""  # how the value must stand to the limit
    unit: NoName = ""
    why: Text = ""  # why it was not run

    def __post_init__(self) -> None:
        if self.status == "not run":
            if not self.why:
                raise ValueError(f"gate {self.name} was not run and does not say why")
            return
        if self.value is None or self.limit is None or not self.sense or not self.data:
            if self.status == "passed":
                raise ValueError(f"gate {self.name} says passed without value, limit, sense and data")
        elif _holds(self.value, self.limit, self.sense) != (self.status == "passed"):
            raise ValueError(f"gate {self.name} says {self.status}: {self.value} is to be {self.sense} {self.limit}")

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
        """Pass or fail `value` by its limit; a value that is no number fails."""
        finite = math.isfinite(value)
        status: GateStatus = "passed" if finite and _holds(value, limit, sense) else "failed"
        return cls(name, status, data, float(value) if finite else None, float(limit), sense, unit)

    @classmethod
    def not_run(cls, name: str, why: str, *, limit: float | None = None, sense: Sense = "", unit: str = "") -> Gate:
        """A check that could not be made, and why."""
        return cls(name, "not run", limit=limit, sense=sense, unit=unit, why=why)


def _holds(value: float, limit: float, sense: Sense) -> bool:
    return value <= limit if sense == "at most" else value >= limit


class Metrics(Struct, frozen=True, forbid_unknown_fields=True):
    """Figures of the full-precision and of the exported model on the same data, by the same names."""

    data: Text
    full_precision: dict[Name, float | None]
    exported: dict[Name, float | None]


class DataSource(Struct, frozen=True, forbid_unknown_fields=True):
    """Data that the model was trained or calibrated on, and its licence."""

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
    """The whole of `manifest.json`. `decision`: see `preprocessing.decision_from_manifest`."""

    schema: int = SCHEMA_VERSION
    name: Name
    created: datetime
    profile: Name
    width: NoName = ""
    classes: dict[Name, tuple[Name, ...]]  # task -> classes, in the order of its output
    preprocessing: Preprocessing
    decision: dict[str, Any]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    model: ModelEntry
    gates: tuple[Gate, ...] = ()
    metrics: tuple[Metrics, ...] = ()
    versions: dict[Name, NoName] = {}
    training_data: tuple[DataSource, ...] = ()
    licence: Text = "Apache-2.0"
    intended_use: Text = INTENDED_USE
    command: Text = ""
    files: dict[str, FileEntry] = {}

    def __post_init__(self) -> None:
        outputs = {spec.name: spec for spec in self.outputs}
        for what, specs in (("input", self.inputs), ("output", self.outputs)):
            if not specs or len({spec.name for spec in specs}) != len(specs):
                raise ValueError(f"each {what} must be named once, and there must be one")
        for task, names in self.classes.items():
            if task not in outputs:
                raise ValueError(f"task {task} has classes and no output")
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
        """The gates that are outside their limit."""
        return tuple(gate for gate in self.gates if gate.status == "failed")


class _SchemaOnly(Struct):
    schema: int


def check_file_name(name: str) -> None:
    """Refuse a file name that leads out of the bundle, or that is the manifest itself (BundleError)."""
    parts = PurePosixPath(name).parts
    clean = name == "/".join(parts) and not name.startswith("/") and "\\" not in name and ":" not in name
    if not clean or ".." in parts or not parts or not name.isprintable():
        raise BundleError(f"The bundle names a file {name!r}, which leads out of it. Do not use it; ask for it again.")
    if len(name) > 200:
        raise BundleError(f"The bundle names a file {name[:40]!r}..., whose name is too long. Do not use it.")
    if name == MANIFEST_NAME:
        raise BundleError(f"{MANIFEST_NAME} cannot list itself among its files. Make the bundle again.")


def decode_manifest(raw: bytes, where: str) -> Manifest:
    """`manifest.json` as read; `where` names the bundle in the message of a BundleError."""
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
            f"{where}: {MANIFEST_NAME} does not hold what a bundle must ({error}). "
            "It was edited or made by another version: export the bundle again."
        ) from error


def encode_manifest(manifest: Manifest) -> bytes:
    """`manifest.json`, for people to read, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"

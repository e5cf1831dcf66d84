"""Content of a device profile. Unknown keys are refused, so that a misspelt limit is not ignored."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ecgmoe_edge.device_profiles.formats import FORMATS

PROFILE_SCHEMA = 1

Positive = Annotated[int, Meta(gt=0)]
PositiveNumber = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Board(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hardware of the board. `unverified` lists the keys that were not checked against the manufacturer's documents."""

    name: str
    architecture: Literal["any", "x86_64", "aarch64", "armv7e-m"]
    cpu: str
    cores: Positive | None = None
    clock_mhz: Positive | None = None
    memory_kib: Positive | None = None
    flash_kib: Positive | None = None
    accelerator: str = "none"
    power_modes: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    notes: str = ""

    def __post_init__(self) -> None:
        unknown = set(self.unverified) - set(self.__struct_fields__)
        if unknown:
            raise ValueError(f"unverified lists keys that [board] does not have: {', '.join(sorted(unknown))}")


class Runtime(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Format of the model file, and the engine that runs it.

    `providers`, `opset` and `ir_version` are for ONNX. The file is written with this opset and an IR version of at most
    `ir_version`. The execution providers are tried in order.
    """

    format: str
    engine: str
    providers: tuple[str, ...] = ()
    threads: Positive = 1
    opset: Annotated[int, Meta(ge=18, le=20)] | None = None
    ir_version: Annotated[int, Meta(ge=8, le=10)] | None = None

    def __post_init__(self) -> None:
        known = FORMATS.get(self.format)
        if known is None:
            raise ValueError(f"format {self.format!r} is unknown; this version has {', '.join(FORMATS)}")
        if self.engine not in known.engines:
            raise ValueError(f"{self.engine} does not run {self.format}; {' or '.join(known.engines)} does")
        for key in sorted({key for one in FORMATS.values() for key in one.keys}):
            given = bool(getattr(self, key))
            if key in known.keys and not given:
                raise ValueError(f"the format {self.format} needs {key}")
            if given and key not in known.keys:
                raise ValueError(f"{key} does not belong to the format {self.format}")

    @property
    def runs_only_int8(self) -> bool:
        """Whether the engine runs only int8 files."""
        return self.engine in FORMATS[self.format].int8_engines


class Precision(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Number format of weights and activations.

    x86 has fast kernels for `activations` in uint8, ARM for int8. `symmetric_activations` sets every zero point to 0,
    as TensorRT requires. With `keep_float_if_not_better`, the export keeps float32 if a measurement shows that it is
    clearly faster than int8.
    """

    precision: Literal["float32", "int8"]
    activations: Literal["float32", "int8", "uint8"]
    symmetric_activations: bool
    per_channel_weights: bool
    keep_float_if_not_better: bool

    def __post_init__(self) -> None:
        if (self.precision == "float32") != (self.activations == "float32"):
            raise ValueError("a float32 model has float32 activations, an int8 model int8 or uint8")
        if self.symmetric_activations and self.activations == "uint8":
            raise ValueError("symmetric activations have zero point 0, which uint8 cannot have")


class ModelChoice(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Width and tasks of the student, and how experts are selected.

    `dispatch`: "if" for a file that selects its experts itself, "host" if the caller selects them between the pieces.
    """

    width: Literal["nano", "small", "base"]
    tasks: Annotated[tuple[str, ...], Meta(min_length=1)]
    dispatch: Literal["if", "host"]


class Memory(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits in KiB: size of the model file, and peak memory of the process or of a microcontroller's tensor arena."""

    model_kib: Positive
    peak_kib: Positive


class Latency(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of the latency.

    Inference time of one beat and delay from R peak to label, in ms (95th percentile); and how many times faster than
    real time the whole pipeline must run.
    """

    inference_ms_p95: PositiveNumber
    label_delay_ms_p95: PositiveNumber
    real_time_factor: PositiveNumber


class Gates(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of an export, compared with the PyTorch model that the file was converted from.

    The logit differences are limits for float32 and int8 files, over the beats with the same route. The agreements are
    fractions (0..1) of beats with the same experts or the same label. The accuracy drop is in percentage points of F1
    below the float student.
    """

    float_logit_difference: PositiveNumber
    int8_logit_difference: PositiveNumber
    route_agreement: Share
    label_agreement: Share
    accuracy_drop_points: PositiveNumber


class Profile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One device profile."""

    schema: int
    name: str
    title: str
    board: Board
    runtime: Runtime
    precision: Precision
    model: ModelChoice
    memory: Memory
    latency: Latency
    gates: Gates

    def __post_init__(self) -> None:
        if self.schema != PROFILE_SCHEMA:
            raise ValueError(f"schema {self.schema} is unknown; this version reads schema {PROFILE_SCHEMA}")
        if "beat" not in self.model.tasks:
            raise ValueError("the tasks must include beat")
        if self.runtime.runs_only_int8 and self.precision.precision != "int8":
            raise ValueError(f"{self.runtime.engine} runs only int8 models")

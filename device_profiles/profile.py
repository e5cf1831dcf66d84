"""What a device profile holds. Unknown keys are refused, so a misspelt limit cannot be lost in silence."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ecgmoe_edge.device_profiles.formats import FORMATS

PROFILE_SCHEMA = 1

Positive = Annotated[int, Meta(gt=0)]
PositiveNumber = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Board(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Facts of the board. `unverified` names those that nobody has checked against the maker's documents."""

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
            raise ValueError(f"unverified names no fact of the board: {', '.join(sorted(unknown))}")


class Runtime(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What runs the model: a format of `formats` and one of its engines.

    An ONNX file is written with the operators of `opset`, and with an IR version of at most `ir_version`.
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
            raise ValueError(f"format {self.format!r} is not known; this version knows {', '.join(FORMATS)}")
        if self.engine not in known.engines:
            raise ValueError(f"{self.engine} does not run {self.format}; {' or '.join(known.engines)} does")
        for key in sorted({key for one in FORMATS.values() for key in one.keys}):
            given = bool(getattr(self, key))
            if key in known.keys and not given:
                raise ValueError(f"the format {self.format} needs {key}")
            if given and key not in known.keys:
                raise ValueError(f"{key} does not belong to the format {self.format}")

    @property
    def takes_int8_alone(self) -> bool:
        """Whether the engine takes no float32 file."""
        return self.engine in FORMATS[self.format].int8_engines


class Precision(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How numbers are stored.

    `activations` is the sign of the integers: uint8 is what x86 has fast kernels for, int8 what ARM has.
    `symmetric_activations` fixes every zero point at 0, as TensorRT demands. With `keep_float_if_not_better`
    an int8 model that is not faster than its float twin gives way to it, where that can be timed.
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
    """Which student, which tasks, and who picks the expert: `if` inside the file, or the host between pieces."""

    width: Literal["nano", "small", "base"]
    tasks: Annotated[tuple[str, ...], Meta(min_length=1)]
    dispatch: Literal["if", "host"]


class Memory(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Largest model file, and largest memory in use: of the process, or of a microcontroller's tensor arena."""

    model_kib: Positive
    peak_kib: Positive


class Latency(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The budget: one beat's inference, R peak to label, and the whole pipeline against real time."""

    inference_ms_p95: PositiveNumber
    label_delay_ms_p95: PositiveNumber
    real_time_factor: PositiveNumber


class Gates(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of an export.

    Differences are of logits (natural logarithms) between the exported file and the model it was made of,
    over beats that took the same route; agreements are shares (0 .. 1) of beats with the same experts or
    label; the accuracy drop is in points of F1 against the float student.
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
            raise ValueError(f"schema {self.schema} is not known; this version reads {PROFILE_SCHEMA}")
        if "beat" not in self.model.tasks:
            raise ValueError("the tasks must hold beat")
        if self.runtime.takes_int8_alone and self.precision.precision != "int8":
            raise ValueError(f"{self.runtime.engine} wants an int8 model")

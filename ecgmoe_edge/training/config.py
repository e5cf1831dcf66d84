"""What a training run is made of, as typed TOML: data sets, splits, draw, augmentation, sizes, epochs, seed."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ecgmoe_edge.errors import InputFileError, UsageError
from ecgmoe_edge.input_files import check_input_file
from ecgmoe_edge.model.teacher_config import Positive, TeacherConfig, refuse_code
from ecgmoe_edge.streaming.signal.filters import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from ecgmoe_edge.tasks import TASK_NAMES, TASKS

#: Configurations inside the package, used by name: the shipped model's, and DS1 alone for comparison with others.
SHIPPED = ("default", "ds1-only")

Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Strength = Annotated[float, Meta(ge=0)]
Seed = Annotated[int, Meta(ge=0, lt=2**32)]  # every epoch's own, made from it, still fits what torch takes


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the configuration: a key that it does not know is an error and never ignored."""


class DataSet(Strict, frozen=True):
    """A folder of recordings, what it teaches, and which of its records validate.

    `labels` says where the truth is: "beats" in WFDB beat annotations (rhythm changes in their notes are used where
    `rhythm` is set), "cinc2017" in the REFERENCE.csv of that challenge (one rhythm a record), "ptbxl" in
    ptbxl_database.csv (age and sex only), "mimic-iv-ecg" in the tables that `training.mimic` reads. Record names may be
    those of a named split ("split:ds1-fit"); "rest" means all that do not validate. With `validation_share` instead of
    names, whole patients are drawn by their names.

    A record gives one run through the front end for each of `leads`. A share of these runs comes a second time upside
    down, and a share at another sampling rate: how R peaks are found and windows are cut depends on both. Validation is
    the first lead, upright, at the rate it has.
    """

    name: str
    folder: str  # inside the data folder, or an absolute path
    labels: Literal["beats", "cinc2017", "ptbxl", "mimic-iv-ecg"] = "beats"
    fit: tuple[str, ...] | Literal["rest"] = "rest"
    validation: tuple[str, ...] = ()
    validation_share: float = 0.0
    leave_out: tuple[str, ...] = ()
    without_beat_labels: tuple[str, ...] = ()  # paced records: their beats are no AAMI training beats
    rhythm: bool = False  # take rhythm labels from the annotations' notes
    annotator: str = "atr"
    leads: tuple[int | str, ...] = (0,)  # names, or numbers counted from 0, as in the header
    invert_share: float = 0.0  # of the runs come once more, turned upside down
    rates: tuple[float, ...] = ()  # Hz
    rate_share: float = 0.25  # of the runs come once more, at one of `rates`
    beats_per_record: Count = 0  # 0 keeps all; else this many, evenly spread
    first_s: Annotated[float, Meta(ge=0)] = 0.0  # beats before are left out (short records: until the rhythm is known)
    most_records: Count = 0  # 0 keeps all; else so many to fit on, drawn by their names
    clinical_folder: str = ""  # mimic-iv-ecg: where labevents and patients lie; empty: `folder`
    potassium_window_h: float = 1.0  # mimic-iv-ecg: the nearest draw counts up to so many hours from the ECG


class Noise(Strict, frozen=True):
    """Recordings of noise alone that are added while training; only their first half is used."""

    folder: str
    records: Annotated[tuple[str, ...], Meta(min_length=1)]


class Draw(Strict, frozen=True):
    """Beats of each class in one epoch. Inside a class, records are damped by 1 / sqrt(their count).

    The shares set how readily a model says S or V: with as many S as N in an epoch, four in five S calls are false.
    """

    normal: Count = 9000
    s: Count = 1500
    v: Count = 4500
    f: Count = 400
    repeat: Strength = 2.0  # S, V and F come at most so many times as often as there are of them
    rhythm: Count = 2000  # of each rhythm class, on top
    other: Count = 500  # of records that teach neither beats nor rhythm (age, sex)


class Augment(Strict, frozen=True):
    """Strengths of the augmentation. Sources: 95 runs of patient-grouped cross-validation inside DS1."""

    jitter_ms: Strength = 20.0  # R peak error, uniform within +-
    stretch: Annotated[float, Meta(ge=0, lt=1)] = 0.1  # of time, uniform within 1 +-
    gain: Strength = 0.2  # standard deviation of the log error of the running R amplitude
    feature_noise: Strength = 0.03  # standard deviation, added to the RR features
    noise_share: Share = 0.5  # of the beats get recorded noise
    noise_least: Strength = 0.02  # its standard deviation, in R amplitudes
    noise_most: Strength = 0.20
    flip_share: Share = 0.05  # of the beats are turned upside down
    memory_share: Share = 1.0  # of the beats get a "length of memory" drawn anew: it tells short records from long


class Fit(Strict, frozen=True):
    """Optimiser and epochs of one stage: teacher, student (float) or student (quantization-aware)."""

    epochs: Annotated[int, Meta(ge=1)] = 16
    batch: Annotated[int, Meta(ge=2)] = 192
    learning_rate: Positive = 2e-3
    weight_decay: Strength = 1e-3
    warm_up: Share = 0.15  # of the steps in which the rate rises
    clip: Positive = 2.0  # norm of the gradient
    soft_epochs: Count = 1  # before the routers are hard
    balance: Strength = 0.02  # weight of the load-balancing loss
    validate_from: Share = 0.4  # of the epochs before the first validation
    validate_every: Annotated[int, Meta(ge=1)] = 2
    patience: Count = 0  # validations without a better one before it stops; 0 never stops early


class QatFit(Fit, frozen=True):
    """The quantization-aware stage: short, at a rate that does not undo the float stage, its routers hard at once."""

    epochs: Annotated[int, Meta(ge=1)] = 4
    learning_rate: Positive = 3e-5
    soft_epochs: Count = 0
    validate_from: Share = 0.0
    validate_every: Annotated[int, Meta(ge=1)] = 1


if TYPE_CHECKING:

    class Losses(Strict, frozen=True):
        """Weights of the tasks in the teacher's loss, a field a task; fixed, see `training.fit`."""
else:
    Losses = msgspec.defstruct(
        "Losses",
        [(task.name, Strength, task.loss_weight) for task in TASKS],
        bases=(Strict,),
        module=__name__,
        frozen=True,
        forbid_unknown_fields=True,
    )


class Distillation(Strict, frozen=True):
    """How the student follows the teacher, and its two stages."""

    kl: Strength = 0.7  # weight of the teacher's probabilities
    cross_entropy: Strength = 0.3  # weight of the labels
    temperature: Positive = 1.0
    float_stage: Fit = Fit()
    qat_stage: QatFit = QatFit()


class TrainingConfig(Strict, frozen=True):
    """A whole run. `data` lists at least one data set."""

    data: tuple[DataSet, ...]
    seed: Seed = 1
    noise: Noise | None = None
    draw: Draw = Draw()
    augment: Augment = Augment()
    losses: Losses = Losses()
    teacher: TeacherConfig = TeacherConfig()
    fit: Fit = Fit()
    distil: Distillation = Distillation()

    def digest(self) -> str:
        """Short name of everything in this configuration; runs with different ones never share a checkpoint."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """As plain dictionaries and lists."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def load_config(path: Path | str | None = None, *, trust_code: bool = False) -> TrainingConfig:
    """The configuration of a TOML file, a shipped one by its name (SHIPPED), or the one that made the shipped weights.

    A relative `weights` of a backbone starts at the folder of the file. `trust_code`: whether a factory
    `module:function` that the file names may run.

    Raises:
        ModelError: it names code to be run, without `trust_code`.
        UsageError: the file cannot be read, is no TOML, or holds an unknown key or a value of the wrong type or range.
    """
    name = SHIPPED[0] if path is None else str(path)
    try:
        if name in SHIPPED:
            text = resources.files("ecgmoe_edge.training").joinpath(f"{name}.toml").read_text(encoding="utf-8")
        else:
            check_input_file(Path(name), "training configuration")
            text = Path(name).read_text(encoding="utf-8")
    except InputFileError as error:
        raise UsageError(
            f"The training configuration cannot be read: {error} Give a file with [[data]] tables, or the name of one "
            f"that is shipped: {', '.join(SHIPPED)}."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The training configuration {path} cannot be read: {error}. "
            f"Give a file, or the name of one that is shipped: {', '.join(SHIPPED)}."
        ) from error
    try:
        config = msgspec.toml.decode(text, type=TrainingConfig)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UsageError(
            f"The training configuration {path} is not valid: {error}. "
            "An example with the shipped values is ecgmoe_edge/training/default.toml."
        ) from error
    _check(config)
    if not trust_code:
        refuse_code(config.teacher.backbones, f"The training configuration {name}")
    return config if name in SHIPPED else _anchored(config, Path(name).parent.resolve())


def _anchored(config: TrainingConfig, folder: Path) -> TrainingConfig:
    """With the relative weights paths of backbones made absolute, so that the teacher finds them from any folder."""
    backbones = tuple(
        spec
        if spec.weights is None or spec.weights.startswith("~")
        else msgspec.structs.replace(spec, weights=str(folder / spec.weights))
        for spec in config.teacher.backbones
    )
    return msgspec.structs.replace(config, teacher=msgspec.structs.replace(config.teacher, backbones=backbones))


def _check(config: TrainingConfig) -> None:
    if not config.data:
        raise UsageError("The training configuration lists no data set; add a [[data]] table.")
    names = [data.name for data in config.data]
    if len(set(names)) != len(names):
        raise UsageError("Two data sets of the training configuration share a name; give each its own.")
    for data in config.data:
        _check_data(data)
    draw, augment, distil = config.draw, config.augment, config.distil
    if not any((draw.normal, draw.s, draw.v, draw.f, draw.rhythm, draw.other)):
        raise UsageError("[draw] asks for no example at all; set one of its numbers above 0.")
    if augment.noise_least > augment.noise_most:
        raise UsageError("[augment] noise_least is more than noise_most; swap them.")
    if not distil.kl and not distil.cross_entropy:
        raise UsageError("[distil] kl and cross_entropy are both 0; set at least one above 0.")
    _check_tasks(config.teacher.tasks)


def _check_tasks(tasks: tuple[str, ...]) -> None:
    if not tasks or len(set(tasks)) < len(tasks):
        raise UsageError("[teacher] tasks names at least one task, and none twice.")
    unknown = [task for task in tasks if task not in TASK_NAMES]
    if unknown:
        raise UsageError(f"[teacher] tasks has no {', '.join(unknown)}; known are {', '.join(TASK_NAMES)}.")


def _check_data(data: DataSet) -> None:
    where = f"Data set {data.name!r}:"
    if data.validation and data.validation_share:
        raise UsageError(f"{where} give either validation or validation_share, not both.")
    if not 0.0 <= data.validation_share < 1.0:
        raise UsageError(f"{where} validation_share lies between 0 and 1 (1 left out).")
    if not (0.0 <= data.invert_share <= 1.0 and 0.0 <= data.rate_share <= 1.0):
        raise UsageError(f"{where} invert_share and rate_share lie between 0 and 1.")
    if not data.leads or len(set(data.leads)) < len(data.leads):
        raise UsageError(f"{where} leads names at least one lead, and none twice.")
    if any(isinstance(lead, int) and lead < 0 for lead in data.leads):
        raise UsageError(f"{where} leads are names, or numbers counted from 0.")
    low, high = LOWEST_RATE_HZ, HIGHEST_RATE_HZ
    if any(not low <= rate <= high for rate in data.rates):
        raise UsageError(f"{where} rates lie between {low:g} and {high:g} Hz.")
    if data.potassium_window_h <= 0:
        raise UsageError(f"{where} potassium_window_h is more than 0.")

"""Configuration of a training run, read from TOML: data sets, splits, sampling, augmentation, sizes, epochs, seed."""

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

#: Names of the configurations in the package: that of the shipped model, and DS1 only for comparison with publications.
SHIPPED = ("default", "fine-tune", "extended", "ds1-only")

Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Strength = Annotated[float, Meta(ge=0)]
Seed = Annotated[int, Meta(ge=0, lt=2**32)]  # the seeds of the epochs, computed from it, are valid for torch


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base class of all tables: an unknown key is an error, and is never ignored."""


class DataSet(Strict, frozen=True):
    """A folder of recordings: which labels it has, and which records are for fitting and for validation.

    `labels` is the source of the labels. "beats": WFDB beat annotations, and rhythm annotations if `rhythm` is set.
    "cinc2017": REFERENCE.csv of that challenge (one rhythm per record). "ptbxl": ptbxl_database.csv (only age and sex).
    "mimic-iv-ecg": the tables that `training.mimic` reads. "rhythm-annotations": WFDB headers and annotations without
    signals, which teach the rhythm from RR intervals and nothing else; such records cannot be used for validation.

    `fit` and `validation` list record names or named splits ("split:ds1-fit"). "rest" means all records that are not
    for validation. With `validation_share`, validation patients are selected by a hash of their names instead.

    The first of `leads` passes alone through the front end, as in a monitor with one lead. Each further lead is learnt
    from a pass with all of `leads`, as in a monitor with several. For a fraction of the runs, copies are added:
    inverted, at another sampling rate, or with recorded noise, because R-peak detection and beat windows depend on all
    of these. Validation uses the first lead, not inverted, at the original rate, without added noise.
    """

    name: str
    folder: str  # inside the data folder, or an absolute path
    labels: Literal["beats", "cinc2017", "ptbxl", "mimic-iv-ecg", "rhythm-annotations"] = "beats"
    fit: tuple[str, ...] | Literal["rest"] = "rest"
    validation: tuple[str, ...] = ()
    validation_share: float = 0.0  # fraction of the patients
    leave_out: tuple[str, ...] = ()
    without_beat_labels: tuple[str, ...] = ()  # paced records, whose beats are not used as AAMI training beats
    rhythm: bool = False  # read rhythm labels from the annotations
    annotator: str = "atr"  # file extension of the annotations
    leads: tuple[int | str, ...] = (0,)  # names, or numbers counted from 0, as in the header
    invert_share: float = 0.0  # fraction of the runs for which an inverted copy is added
    rates: tuple[float, ...] = ()  # Hz
    rate_share: float = 0.25  # fraction of the runs for which a copy at one of `rates` is added
    noise: tuple[str, ...] = ()  # paths of noise recordings inside the data folder; only their first half is added
    noise_share: float = 0.25  # fraction of the runs for which a copy with one of `noise` is added
    snr_db: tuple[float, ...] = (6.0,)  # signal-to-noise ratios of these copies, one for each copy
    without_af: Share = 0.0  # fraction of the beats that are labelled "not AF" where no rhythm is annotated
    maybe_af: tuple[str, ...] = ()  # records to which `without_af` does not apply
    beats_per_record: Count = 0  # number of beats to keep, evenly spaced; 0 keeps all
    first_s: Annotated[float, Meta(ge=0)] = 0.0  # earlier beats are left out: the rhythm is not known yet
    most_records: Count = 0  # number of records to fit on, selected by a hash of their names; 0 keeps all
    clinical_folder: str = ""  # mimic-iv-ecg: folder of labevents and patients; empty takes `folder`
    potassium_window_h: float = 1.0  # mimic-iv-ecg: largest time between ECG and blood sample


class Noise(Strict, frozen=True):
    """Recordings of noise that are added to the beats during training; only their first half is used."""

    folder: str
    records: Annotated[tuple[str, ...], Meta(min_length=1)]


class Draw(Strict, frozen=True):
    """Number of beats of each class, and of artefacts, in one epoch.

    In each class, a record is sampled in proportion to the square root of its number of beats. The ratios between the
    classes set the balance of sensitivity and positive predictivity: with as many S as N beats in an epoch, four of
    five detected S beats are false positives.
    """

    normal: Count = 9000
    s: Count = 1500
    v: Count = 4500
    f: Count = 400
    artefact: Count = 1500  # detected peaks that are no beats
    repeat: Strength = 2.0  # at most this multiple of the available S, V and F beats and of the artefacts is drawn
    rhythm: Count = 2000  # additional beats of each rhythm class
    other: Count = 500  # additional beats of records without beat and rhythm labels (age, sex)


class Augment(Strict, frozen=True):
    """Strengths of the augmentation, chosen by 95 runs of patient-grouped cross-validation within DS1."""

    jitter_ms: Strength = 20.0  # largest shift of the R peak, uniformly distributed within +- this value
    stretch: Annotated[float, Meta(ge=0, lt=1)] = 0.1  # time is stretched by a factor within 1 +- this value, uniform
    gain: Strength = 0.2  # standard deviation of the natural logarithm of a factor on the R amplitude
    feature_noise: Strength = 0.03  # standard deviation of noise that is added to the RR features
    noise_share: Share = 0.5  # fraction of the beats that recorded noise is added to
    noise_least: Strength = 0.02  # smallest standard deviation of that noise, in R amplitudes
    noise_most: Strength = 0.20  # largest standard deviation of that noise, in R amplitudes
    flip_share: Share = 0.05  # fraction of the beats that are inverted
    # Fraction of the beats whose feature "length of the patient history" is replaced by a random value. Otherwise, the
    # model could recognise short and long records by it.
    memory_share: Share = 1.0


class Fit(Strict, frozen=True):
    """Optimiser and epochs of one stage: teacher, student (float) or student (quantization-aware)."""

    epochs: Annotated[int, Meta(ge=1)] = 16
    batch: Annotated[int, Meta(ge=2)] = 192
    learning_rate: Positive = 2e-3
    weight_decay: Strength = 1e-3
    warm_up: Share = 0.15  # fraction of the steps in which the learning rate rises
    clip: Positive = 2.0  # largest norm of the gradient
    soft_epochs: Count = 1  # epochs with soft routing, before hard routing begins
    balance: Strength = 0.02  # weight of the load-balancing loss; a student's morphology router has none
    validate_from: Share = 0.4  # fraction of the epochs before the first validation
    validate_every: Annotated[int, Meta(ge=1)] = 2  # epochs
    patience: Count = 0  # validations without improvement before the fit stops; 0 never stops early


class QatFit(Fit, frozen=True):
    """The quantization-aware stage: few epochs, a low learning rate, and hard routing from the first epoch."""

    epochs: Annotated[int, Meta(ge=1)] = 4
    learning_rate: Positive = 3e-5
    soft_epochs: Count = 0
    validate_from: Share = 0.0
    validate_every: Annotated[int, Meta(ge=1)] = 1


class ExtensionFit(QatFit, frozen=True):
    """The extension of a student. `soft_epochs` and `balance` have no effect: the routes of the student are fixed."""

    epochs: Annotated[int, Meta(ge=1)] = 5
    learning_rate: Positive = 2e-3


if TYPE_CHECKING:

    class Losses(Strict, frozen=True):
        """Fixed weights of the tasks in the teacher's loss, one field per task; see `training.fit`."""
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
    """Distillation loss, the two stages of the student, and its extension between them."""

    kl: Strength = 0.7  # weight of the divergence from the teacher's probabilities
    cross_entropy: Strength = 0.3  # weight of the cross entropy with the labels
    # The same two weights for the rhythm; None takes those above. 0 and 1 if the examples teach more about the rhythm
    # than the teacher knows.
    rhythm_kl: Strength | None = None
    rhythm_cross_entropy: Strength | None = None
    temperature: Positive = 1.0
    cost_weight: Strength = 0.05  # loss of a beat on the most expensive morphology expert, compared with the cheapest
    float_stage: Fit = Fit()
    qat_stage: QatFit = QatFit()
    artefact_answer: bool = True  # whether a student has the answer that a detected peak is an artefact
    extension_stage: ExtensionFit = ExtensionFit()
    extension_light_expert: bool = True  # whether an extension adds a light expert, or only fits the rhythm task again
    extension_cost: Strength = 0.1  # divergence of the beat answers at which a full expert is worth its cost

    def weights_of(self, task: str) -> tuple[float, float]:
        """Return the weights of a task: of the divergence from the teacher, and of the cross entropy."""
        if task != "rhythm":
            return self.kl, self.cross_entropy
        kl, cross_entropy = self.rhythm_kl, self.rhythm_cross_entropy
        return self.kl if kl is None else kl, self.cross_entropy if cross_entropy is None else cross_entropy


class TrainingConfig(Strict, frozen=True):
    """Configuration of a whole run, with at least one data set."""

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
        """Return a short digest of the configuration; runs with different digests never share a checkpoint."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Convert to plain dictionaries and lists."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def load_config(path: Path | str | None = None, *, trust_code: bool = False) -> TrainingConfig:
    """Load a training configuration.

    A relative path in `weights` of a backbone is relative to the folder of the configuration file.

    Args:
        path: a TOML file, or the name of a shipped configuration (`SHIPPED`); None takes that of the shipped weights.
        trust_code: whether the file may name a factory `module:function` that is run.

    Raises:
        ModelError: the file names a factory, and `trust_code` is False.
        UsageError: the file cannot be read, is not TOML, or has an unknown key or a value of the wrong type or range.
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
            f"The training configuration cannot be read: {error} Give a file with [[data]] tables, or the name of a "
            f"shipped configuration: {', '.join(SHIPPED)}."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The training configuration {path} cannot be read: {error}. "
            f"Give a file, or the name of a shipped configuration: {', '.join(SHIPPED)}."
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
    """Make the relative paths of backbone weights absolute, so that they are valid in any current folder."""
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
    if not any((draw.normal, draw.s, draw.v, draw.f, draw.artefact, draw.rhythm, draw.other)):
        raise UsageError("All numbers of [draw] are 0, so an epoch has no examples; set at least one above 0.")
    if augment.noise_least > augment.noise_most:
        raise UsageError("[augment] noise_least is larger than noise_most; swap them.")
    if not distil.kl and not distil.cross_entropy:
        raise UsageError("[distil] kl and cross_entropy are both 0; set at least one above 0.")
    if not any(distil.weights_of("rhythm")):
        raise UsageError("[distil] rhythm_kl and rhythm_cross_entropy are both 0; set at least one above 0.")
    _check_tasks(config.teacher.tasks)


def _check_tasks(tasks: tuple[str, ...]) -> None:
    if not tasks or len(set(tasks)) < len(tasks):
        raise UsageError("[teacher] tasks must list at least one task, and each task only once.")
    unknown = [task for task in tasks if task not in TASK_NAMES]
    if unknown:
        raise UsageError(
            f"[teacher] tasks has unknown names: {', '.join(unknown)}. The tasks are {', '.join(TASK_NAMES)}."
        )


def _check_data(data: DataSet) -> None:
    where = f"Data set {data.name!r}:"
    if data.validation and data.validation_share:
        raise UsageError(f"{where} give either validation or validation_share, not both.")
    if not 0.0 <= data.validation_share < 1.0:
        raise UsageError(f"{where} validation_share must be at least 0 and less than 1.")
    shares = (data.invert_share, data.rate_share, data.noise_share)
    if not all(0.0 <= share <= 1.0 for share in shares):
        raise UsageError(f"{where} invert_share, rate_share and noise_share must be between 0 and 1.")
    if data.noise and (data.labels != "beats" or not data.snr_db):
        raise UsageError(f"{where} noise needs annotated beats, and at least one number in snr_db.")
    if not data.leads or len(set(data.leads)) < len(data.leads):
        raise UsageError(f"{where} leads must list at least one lead, and each lead only once.")
    if any(isinstance(lead, int) and lead < 0 for lead in data.leads):
        raise UsageError(f"{where} leads must be names, or numbers counted from 0.")
    low, high = LOWEST_RATE_HZ, HIGHEST_RATE_HZ
    if any(not low <= rate <= high for rate in data.rates):
        raise UsageError(f"{where} rates must be between {low:g} and {high:g} Hz.")
    if data.potassium_window_h <= 0:
        raise UsageError(f"{where} potassium_window_h must be more than 0.")

"""Fast validation on examples: Se, +P and F1 per class, before and after the decision rule, and the use of the experts.

Only labelled examples are counted: detections that match an annotated beat, and artefacts. Missed beats are not.
`ecgmoe-edge evaluate` scores the whole live pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgmoe_edge.contract import routes_by_path
from ecgmoe_edge.model.macs import StudentMacs
from ecgmoe_edge.streaming.decision import Decision, DecisionRule
from ecgmoe_edge.streaming.features import WAVEFORM_LIMIT
from ecgmoe_edge.streaming.signal.windows import BEAT_CORE
from ecgmoe_edge.tasks import BEAT_ANSWERS, RHYTHM_CLASSES, TASKS, task_named
from ecgmoe_edge.training.augment import Batch, clean_batch
from ecgmoe_edge.training.examples import UNKNOWN, Examples

_CPU = torch.device("cpu")
#: Runs a model in evaluation mode: maps a batch to the logits of tasks and routers, by name.
Run = Callable[[Batch], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Score:
    """Sensitivity, positive predictivity and F1 in per cent; None if the denominator is 0."""

    se: float | None
    ppv: float | None
    f1: float | None
    support: int  # number of examples that are labelled with the class


@dataclass(frozen=True)
class Validation:
    """Validation figures of a model on one data set."""

    beats: dict[str, Score] = field(default_factory=dict)  # score of the logits, by class; of artefacts under "?"
    decided: dict[str, Score] = field(default_factory=dict)  # score after the decision rule, the same
    rhythm: dict[str, Score] = field(default_factory=dict)  # score by rhythm
    others: dict[str, float] = field(default_factory=dict)  # by task: mean F1 in per cent, or mean absolute error
    skills: dict[str, float] = field(default_factory=dict)  # by task: the same figure in per cent, higher is better
    experts: dict[str, tuple[float, ...]] = field(default_factory=dict)  # fraction of beats of each expert, by path
    # The same for the beats of each annotated class, by path and class.
    experts_of_class: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=dict)
    mean_macs: float | None = None  # multiply-accumulates of a beat, mean over the beats; None for a teacher
    dense_twin_macs: int | None = None  # those of the dense network of the same sizes

    def to_json(self) -> dict[str, Any]:
        """Convert to plain dictionaries and lists."""
        return asdict(self)

    def beat_score(self) -> float | None:
        """Return the mean F1 of S and V after the decision rule, over those of the two classes that occur."""
        return _mean([self.decided[name].f1 for name in ("S", "V") if name in self.decided])

    def rhythm_score(self) -> float | None:
        """Return the mean F1 of N, AF and other, the score of the CinC 2017 challenge."""
        return _mean([self.rhythm[name].f1 for name in ("N", "AF", "other") if name in self.rhythm])

    def other_score(self) -> float | None:
        """Return the mean skill of the other tasks.

        The skill of a classification is its mean F1; that of a regression is how much smaller its error is than that of
        always predicting the median, in per cent.
        """
        return _mean(list(self.skills.values()))


def predict(run: Run, batches: Iterable[Batch]) -> dict[str, NDArray[np.float32]]:
    """Run a model on all batches and return its outputs (n, width) by name."""
    parts: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for batch in batches:
            for name, value in run(batch).items():
                parts.setdefault(name, []).append(value.float())
    return {name: torch.cat(tensors).cpu().numpy() for name, tensors in parts.items()}


def clean_batches(examples: Examples, device: torch.device = _CPU, *, size: int = 512) -> Iterator[Batch]:
    """Yield all examples in order, without augmentation, in batches of `size` on `device`."""
    for start in range(0, len(examples), size):
        yield clean_batch(examples, np.arange(start, min(start + size, len(examples)))).to(device)


def make_validator(
    run: Run, sets: Mapping[str, Examples], device: torch.device, macs: StudentMacs | None = None
) -> Callable[[], tuple[float, dict[str, float]]]:
    """Return a function that validates a model: it returns `selection_score` and `flat_metrics`.

    On a GPU, the batches stay in the memory of the GPU between two calls.

    Args:
        run: runs the model.
        sets: validation examples by data set.
        device: where the model runs.
        macs: multiply-accumulates of a student; None for a teacher.
    """
    on_device = {name: list(clean_batches(one, device)) for name, one in sets.items()} if device.type != "cpu" else {}

    def validator() -> tuple[float, dict[str, float]]:
        reports = {name: validate(run, one, batches=on_device.get(name), macs=macs) for name, one in sets.items()}
        return selection_score(reports), flat_metrics(reports)

    return validator


def validate(
    run: Run,
    examples: Examples,
    rule: DecisionRule | None = None,
    *,
    batches: Iterable[Batch] | None = None,
    macs: StudentMacs | None = None,
    dense_twin_macs: int | None = None,
) -> Validation:
    """Validate a model on the examples of one data set.

    Args:
        run: runs the model.
        examples: the examples of the data set.
        rule: decision rule; None takes the default.
        batches: the same examples as `clean_batches` yields them; None makes them on the CPU.
        macs: multiply-accumulates of a student; None for a teacher.
        dense_twin_macs: multiply-accumulates of a beat of the dense network of the same sizes.
    """
    outputs = predict(run, clean_batches(examples) if batches is None else batches)
    beats = decided = rhythm = {}
    labelled = examples.labels["beat"] != UNKNOWN
    if labelled.any() and "beat" in outputs:  # a teacher can be trained only for other tasks
        truth = examples.labels["beat"][labelled]
        beats = beat_scores(truth, outputs["beat"][labelled].argmax(1))
        labels = decide(outputs, examples, rule or DecisionRule())
        decided = beat_scores(truth, labels[labelled])
    with_rhythm = np.isin(examples.labels["rhythm"], range(len(RHYTHM_CLASSES)))  # "not AF" is no class to predict
    if with_rhythm.any() and "rhythm" in outputs:  # a nano student has no rhythm output
        truth, predicted = examples.labels["rhythm"][with_rhythm], outputs["rhythm"][with_rhythm].argmax(1)
        rhythm = {
            name: _score(truth == label, predicted == label)
            for label, name in enumerate(RHYTHM_CLASSES)
            if (truth == label).any()
        }
    others, skills = _other_figures(outputs, examples)
    return Validation(
        beats,
        decided,
        rhythm,
        others,
        skills,
        expert_shares(outputs),
        _expert_shares_by_class(outputs, examples.labels["beat"]),
        None if macs is None else round(macs.mean(outputs), 1),
        dense_twin_macs,
    )


def _other_figures(
    outputs: Mapping[str, NDArray[np.float32]], examples: Examples
) -> tuple[dict[str, float], dict[str, float]]:
    """Return figure and skill of each other task that the model has and that has labels, by task."""
    figures: dict[str, float] = {}
    skills: dict[str, float] = {}
    for task in TASKS:
        if task.score in ("beats", "rhythm") or task.name not in outputs:
            continue
        truth, output = examples.labels[task.name], outputs[task.name]
        if task.kind == "classification":
            known = truth != UNKNOWN
            predicted = output.argmax(1)
            each = [_score(truth[known] == c, predicted[known] == c).f1 for c in range(len(task.classes))]
            if (mean := _mean(each)) is not None:
                figures[task.name] = skills[task.name] = mean
            continue
        known = np.isfinite(truth)
        if known.any():
            error = float(np.abs(output[known, 0] * task.scale + task.offset - truth[known]).mean())
            error_of_median = float(np.abs(truth[known] - np.median(truth[known])).mean())
            figures[task.name], skills[task.name] = error, 100.0 * (1.0 - error / max(error_of_median, 1e-9))
    return figures, skills


def decide(outputs: Mapping[str, NDArray[np.float32]], examples: Examples, rule: DecisionRule) -> NDArray[np.int64]:
    """Apply the decision rule to the beats of each record in the order of time.

    Args:
        outputs: logits (n, classes) by name: "beat", and "rhythm" if the model has it.
        examples: the n examples.
        rule: the decision rule.

    Returns:
        Indices (n,) into BEAT_ANSWERS after the decision rule.
    """
    labels = np.empty(len(examples), np.int64)
    rhythm = outputs.get("rhythm")
    scale = np.maximum(examples.amplitude, 1e-3)[:, None]
    beats = np.clip(examples.window[:, BEAT_CORE] / scale, -WAVEFORM_LIMIT, WAVEFORM_LIMIT)
    rhythms = () if rhythm is None else RHYTHM_CLASSES
    answers = BEAT_ANSWERS[: outputs["beat"].shape[1]]  # a student may lack the last one, the artefact
    previous, decision = -1, Decision(rule, answers, rhythms)
    for i, record in enumerate(examples.record.tolist()):
        if record != previous:
            previous, decision = record, Decision(rule, answers, rhythms)
        logits, rr = outputs["beat"][i], examples.rr_features[i]
        artefact = decision.is_artefact(logits, quality=1.0)  # an example does not state its quality
        of_rhythm = None if rhythm is None else rhythm[i]
        adjusted = decision.apply(logits, rr, beats[i], of_rhythm, learn=not artefact)
        labels[i] = int(logits.argmax()) if artefact else decision.best_class(adjusted)
    return labels


def beat_scores(truth: NDArray[np.int8], predicted: NDArray[np.int64]) -> dict[str, Score]:
    """Score each AAMI class and the artefact by their true and predicted indices (n,) into BEAT_ANSWERS.

    Following ANSI/AAMI EC57, an F beat that is labelled V counts neither as correct nor as an error for V.
    """
    fusion, ventricular = BEAT_ANSWERS.index("F"), BEAT_ANSWERS.index("V")
    scores = {}
    for label, name in enumerate(BEAT_ANSWERS):
        counted = (truth != fusion) | (predicted != ventricular) if name == "V" else np.ones(len(truth), bool)
        scores[name] = _score(truth[counted] == label, predicted[counted] == label)
    return scores


def expert_shares(outputs: Mapping[str, NDArray[np.float32]]) -> dict[str, tuple[float, ...]]:
    """Return the fraction of beats that each expert runs for, by path, from the router logits `route_*`."""
    return {
        path: tuple((np.bincount(logits.argmax(1), minlength=logits.shape[1]) / max(1, len(logits))).round(4).tolist())
        for path, logits in routes_by_path(outputs).items()
    }


def _expert_shares_by_class(
    outputs: Mapping[str, NDArray[np.float32]], truth: NDArray[Any]
) -> dict[str, dict[str, tuple[float, ...]]]:
    """Return `expert_shares` of the beats of each annotated class that occurs, by path and class."""
    by_path: dict[str, dict[str, tuple[float, ...]]] = {}
    for label, name in enumerate(BEAT_ANSWERS):
        of_class = truth == label
        if of_class.any():
            for path, shares in expert_shares({key: value[of_class] for key, value in outputs.items()}).items():
                by_path.setdefault(path, {})[name] = shares
    return by_path


def selection_score(validations: Mapping[str, Validation]) -> float:
    """Return the score in per cent that selects the best epoch: 0.8 * beat score + 0.2 * rhythm score.

    Each score is the mean over the data sets. Beats have more weight because they are the main output in live use. If a
    run has only one of the two scores, that score is used; if it has neither, the mean skill of the other tasks.
    """
    beats = _mean([one.beat_score() for one in validations.values()])
    rhythm = _mean([one.rhythm_score() for one in validations.values()])
    if beats is not None and rhythm is not None:
        return 0.8 * beats + 0.2 * rhythm
    others = _mean([one.other_score() for one in validations.values()])
    return next((score for score in (beats, rhythm, others) if score is not None), 0.0)


def flat_metrics(validations: Mapping[str, Validation]) -> dict[str, float]:
    """Return all figures as one row: `mitdb.V.f1` is after the decision rule, `mitdb.V.f1.plain` before it."""
    row: dict[str, float] = {}
    for data, one in validations.items():
        for suffix, scores in (("", one.decided), (".plain", one.beats), ("", one.rhythm)):
            prefix = f"{data}.rhythm" if scores is one.rhythm else data
            for name, score in scores.items():
                for key in ("se", "ppv", "f1"):
                    value = getattr(score, key)
                    if value is not None:
                        row[f"{prefix}.{name}.{key}{suffix}"] = round(value, 3)
        for task, value in one.others.items():
            row[f"{data}.{task}.{'error' if task_named(task).kind == 'regression' else 'f1'}"] = round(value, 4)
        for bank, shares in one.experts.items():
            row |= {f"{data}.{bank}.expert{i}": share for i, share in enumerate(shares)}
        if one.mean_macs is not None:
            row[f"{data}.mean_macs"] = one.mean_macs
    return row


def _score(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Score:
    correct, labelled, detected = int((truth & predicted).sum()), int(truth.sum()), int(predicted.sum())
    return Score(
        se=100.0 * correct / labelled if labelled else None,
        ppv=100.0 * correct / detected if detected else None,
        f1=200.0 * correct / (labelled + detected) if labelled else None,
        support=labelled,
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

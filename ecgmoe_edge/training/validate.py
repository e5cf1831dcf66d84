"""Fast validation on examples: Se, +P and F1 a class, before and after the decision rule, and how experts are used.

Beats here are detections with an annotated partner; missed and false detections are not counted. Scores of the whole
live pipeline come from `ecgmoe-edge evaluate`.
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
from ecgmoe_edge.streaming.decision import Decision, DecisionRule
from ecgmoe_edge.streaming.features import WAVEFORM_LIMIT
from ecgmoe_edge.streaming.signal.windows import BEAT_CORE
from ecgmoe_edge.tasks import BEAT_CLASSES, RHYTHM_CLASSES, TASKS, task_named
from ecgmoe_edge.training.augment import Batch, clean_batch
from ecgmoe_edge.training.examples import UNKNOWN, Examples

#: What a fit calls to be judged: a score (higher is better) and numbers for its log.
Judge = Callable[[], tuple[float, Mapping[str, float]]]
_CPU = torch.device("cpu")
#: A model in evaluation mode: a batch to its named outputs, one a task that it answers, and its routers' logits.
Run = Callable[[Batch], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Score:
    """Sensitivity, positive predictivity and F1 in per cent; None where nothing was there to count."""

    se: float | None
    ppv: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class Validation:
    """What a model does on one data set."""

    beats: dict[str, Score] = field(default_factory=dict)  # class -> score of the plain logits
    decided: dict[str, Score] = field(default_factory=dict)  # the same after the decision rule
    rhythm: dict[str, Score] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)  # task -> mean F1 in per cent, or mean absolute error
    skills: dict[str, float] = field(default_factory=dict)  # task -> the same as per cent, more is better
    experts: dict[str, tuple[float, ...]] = field(default_factory=dict)  # bank -> share of beats an expert

    def to_json(self) -> dict[str, Any]:
        """As plain dictionaries and lists."""
        return asdict(self)

    def beat_score(self) -> float | None:
        """Mean F1 of S and V after the decision rule, of those classes that occur."""
        return _mean([self.decided[name].f1 for name in ("S", "V") if name in self.decided])

    def rhythm_score(self) -> float | None:
        """Mean F1 of N, AF and other, as the CinC 2017 challenge scored."""
        return _mean([self.rhythm[name].f1 for name in ("N", "AF", "other") if name in self.rhythm])

    def other_score(self) -> float | None:
        """Mean skill of the other tasks: mean F1, or how far an error is below that of always saying the median."""
        return _mean(list(self.skills.values()))


def predict(run: Run, batches: Iterable[Batch]) -> dict[str, NDArray[np.float32]]:
    """Outputs of all examples by name, (n, width)."""
    parts: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for batch in batches:
            for name, value in run(batch).items():
                parts.setdefault(name, []).append(value.float())
    return {name: torch.cat(tensors).cpu().numpy() for name, tensors in parts.items()}


def clean_batches(examples: Examples, device: torch.device = _CPU, *, size: int = 512) -> Iterator[Batch]:
    """All examples in their order, as the stream gives them to a model."""
    for start in range(0, len(examples), size):
        yield clean_batch(examples, np.arange(start, min(start + size, len(examples)))).to(device)


def judge_of(
    run: Run, sets: Mapping[str, Examples], device: torch.device
) -> Callable[[], tuple[float, dict[str, float]]]:
    """What a fit calls to be judged: `selection_score` and `flat_metrics` of its model on the validation sets.

    On a GPU the sets stay there between two calls.
    """
    kept = {name: list(clean_batches(one, device)) for name, one in sets.items()} if device.type != "cpu" else {}

    def judge() -> tuple[float, dict[str, float]]:
        reports = {name: validate(run, one, batches=kept.get(name)) for name, one in sets.items()}
        return selection_score(reports), flat_metrics(reports)

    return judge


def validate(
    run: Run, examples: Examples, rule: DecisionRule | None = None, *, batches: Iterable[Batch] | None = None
) -> Validation:
    """Validate a model on the examples of one data set.

    Args:
        run: the model.
        examples: of the data set.
        rule: None takes the default decision rule.
        batches: the same examples as `clean_batches` gives them; None makes them on the CPU.
    """
    outputs = predict(run, clean_batches(examples) if batches is None else batches)
    beats = decided = rhythm = {}
    labelled = examples.labels["beat"] != UNKNOWN
    if labelled.any() and "beat" in outputs:  # a teacher may be trained for other tasks alone
        truth = examples.labels["beat"][labelled]
        beats = beat_scores(truth, outputs["beat"][labelled].argmax(1))
        labels = decide(outputs, examples, rule or DecisionRule())
        decided = beat_scores(truth, labels[labelled])
    settled = examples.labels["rhythm"] != UNKNOWN
    if settled.any() and "rhythm" in outputs:  # a nano student answers for beats alone
        truth, guess = examples.labels["rhythm"][settled], outputs["rhythm"][settled].argmax(1)
        rhythm = {
            name: _score(truth == label, guess == label)
            for label, name in enumerate(RHYTHM_CLASSES)
            if (truth == label).any()
        }
    others, skills = _other_figures(outputs, examples)
    return Validation(beats, decided, rhythm, others, skills, expert_shares(outputs))


def _other_figures(
    outputs: Mapping[str, NDArray[np.float32]], examples: Examples
) -> tuple[dict[str, float], dict[str, float]]:
    """Figure and skill of every task but beat and rhythm that the model answers and that has labels here."""
    figures: dict[str, float] = {}
    skills: dict[str, float] = {}
    for task in TASKS:
        if task.score in ("beats", "rhythm") or task.name not in outputs:
            continue
        truth, answer = examples.labels[task.name], outputs[task.name]
        if task.kind == "classification":
            known = truth != UNKNOWN
            guess = answer.argmax(1)
            each = [_score(truth[known] == c, guess[known] == c).f1 for c in range(len(task.classes))]
            if (mean := _mean(each)) is not None:
                figures[task.name] = skills[task.name] = mean
            continue
        known = np.isfinite(truth)
        if known.any():
            error = float(np.abs(answer[known, 0] * task.scale + task.offset - truth[known]).mean())
            usual = float(np.abs(truth[known] - np.median(truth[known])).mean())
            figures[task.name], skills[task.name] = error, 100.0 * (1.0 - error / max(usual, 1e-9))
    return figures, skills


def decide(outputs: Mapping[str, NDArray[np.float32]], examples: Examples, rule: DecisionRule) -> NDArray[np.int64]:
    """Labels (n,) after the decision rule, applied to each record's beats in their order of time.

    outputs: logits by name, (n, classes): "beat", and "rhythm" where the model has it.
    """
    labels = np.empty(len(examples), np.int64)
    rhythm = outputs.get("rhythm")
    scale = np.maximum(examples.amplitude, 1e-3)[:, None]
    beats = np.clip(examples.window[:, BEAT_CORE] / scale, -WAVEFORM_LIMIT, WAVEFORM_LIMIT)
    rhythms = () if rhythm is None else RHYTHM_CLASSES
    previous, decision = -1, Decision(rule, BEAT_CLASSES, rhythms)
    for i, record in enumerate(examples.record.tolist()):
        if record != previous:
            previous, decision = record, Decision(rule, BEAT_CLASSES, rhythms)
        rr = examples.rr_features[i]
        adjusted = decision.apply(outputs["beat"][i], rr, beats[i], None if rhythm is None else rhythm[i])
        labels[i] = adjusted.argmax()
    return labels


def beat_scores(truth: NDArray[np.int8], guess: NDArray[np.int64]) -> dict[str, Score]:
    """Score of each AAMI class; as EC57 has it, an F beat labelled V is neither right nor wrong for V."""
    fusion, ventricular = BEAT_CLASSES.index("F"), BEAT_CLASSES.index("V")
    scores = {}
    for label, name in enumerate(BEAT_CLASSES):
        counted = (truth != fusion) | (guess != ventricular) if name == "V" else np.ones(len(truth), bool)
        scores[name] = _score(truth[counted] == label, guess[counted] == label)
    return scores


def expert_shares(outputs: Mapping[str, NDArray[np.float32]]) -> dict[str, tuple[float, ...]]:
    """Share of the beats that each expert of each bank runs on, from router logits named `route_*`."""
    return {
        path: tuple((np.bincount(logits.argmax(1), minlength=logits.shape[1]) / max(1, len(logits))).round(4).tolist())
        for path, logits in routes_by_path(outputs).items()
    }


def selection_score(validations: Mapping[str, Validation]) -> float:
    """The one number that chooses an epoch, per cent: 0.8 of the beats' and 0.2 of the rhythms', sets counting alike.

    Beats weigh more because they are what live use is about; a run that teaches one of the two is judged by it, and one
    that teaches neither by the mean skill of what it does teach.
    """
    beats = _mean([one.beat_score() for one in validations.values()])
    rhythm = _mean([one.rhythm_score() for one in validations.values()])
    if beats is not None and rhythm is not None:
        return 0.8 * beats + 0.2 * rhythm
    others = _mean([one.other_score() for one in validations.values()])
    return next((score for score in (beats, rhythm, others) if score is not None), 0.0)


def flat_metrics(validations: Mapping[str, Validation]) -> dict[str, float]:
    """The validations as one row of numbers, such as `mitdb.V.f1` (after the decision rule) and `mitdb.V.f1.plain`."""
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
    return row


def _score(truth: NDArray[np.bool_], guess: NDArray[np.bool_]) -> Score:
    hit, there, said = int((truth & guess).sum()), int(truth.sum()), int(guess.sum())
    return Score(
        se=100.0 * hit / there if there else None,
        ppv=100.0 * hit / said if said else None,
        f1=200.0 * hit / (there + said) if there else None,
        support=there,
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

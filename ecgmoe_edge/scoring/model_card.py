"""Writes MODEL_CARD.md of the full-precision model: architecture, training data, figures and limits.

Every figure is read from the output of `ecgmoe-edge evaluate --json` and printed with its command.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.records.databases.mitdb import SAME_PERSON
from ecgmoe_edge.records.splits import DEFAULT_DATABASE, DS2
from ecgmoe_edge.runtime.manifest import INTENDED_USE
from ecgmoe_edge.tasks import task_named

ABOUT = (
    "A mixture-of-experts model with two paths, one for the morphology of a beat and one for its rhythm, and a "
    "period-aware gate. The architecture follows the abstract and the figures of Xu et al., *ECG-MoE* (arXiv "
    "2603.04589); it does not reproduce the authors' code. It is meant for research on ECG models and on their "
    "deployment on devices, by people who can check its output against the signal."
)
LIMITS = (
    "The model was trained on few people: dozens of patients with annotated beats, mostly adults with arrhythmias, on "
    "two recorders. Figures on other patients, recorders, leads and electrodes may be much lower.",
    "S is recognised by its difference from the patient history. If S is the usual beat of a patient, as in record "
    "232, it is missed by design. Atrial fibrillation and flutter cause false S.",
    "F is rare, and its sensitivity differs from patient to patient. Q (paced, unclassifiable) is never predicted, "
    "and no beat figure includes paced records.",
    "The rhythm of the most recent beats is N, AF, other or noisy; atrial flutter is `other`.",
    "The model reads one lead, whose polarity the user states. It was not tested on children or with implanted "
    "devices.",
    "A beat that the R-peak detector misses is never classified.",
)


def teacher_card(
    run: Mapping[str, Any], training_data: Sequence[Mapping[str, str]], evaluations: Sequence[Mapping[str, Any]]
) -> str:
    """The model card as Markdown.

    Args:
        run: the description of the training run that `train` writes beside the weights (`teacher.json`).
        training_data: name, licence, use and citation of each data set (`training_data.json`).
        evaluations: outputs of `evaluate --json`, one for each data set and task.
    """
    return "\n".join(_lines(run, training_data, evaluations)) + "\n"


def read_evaluations(folder: Path) -> list[dict[str, Any]]:
    """Read the outputs of `evaluate --json` (*.json) in a folder, sorted by file name.

    Raises:
        UsageError: the folder holds none, or one of the files is not such an output.
    """
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            evaluation = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as reason:
            raise UsageError(f"{file} is not JSON ({reason}). Write it with `ecgmoe-edge evaluate --json`.") from reason
        if not isinstance(evaluation, dict) or not {"records", "intervals", "command"} <= set(evaluation):
            raise UsageError(f"{file} is not an output of `ecgmoe-edge evaluate --json`. Remove it or write it again.")
        found.append(evaluation)
    if not found:
        raise UsageError(f"{folder} holds no output of `ecgmoe-edge evaluate --json`. Write one there first.")
    return found


def _lines(
    run: Mapping[str, Any], training_data: Sequence[Mapping[str, str]], evaluations: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    yield f"# {run['weights']}"
    yield f"\n**{INTENDED_USE}**\n"
    yield ABOUT
    yield "\n## Figures\n"
    yield "The whole live pipeline with detected R peaks, not annotated ones. In brackets: 95 % confidence intervals"
    yield "over patients. S is given with and without record 232, which holds most S beats of DS2.\n"
    yield "| what | value | records | command |\n| --- | --- | --- | --- |"
    for evaluation in evaluations:
        for name, value in _figures(evaluation):
            yield f"| {name} | {value} | {evaluation['records']} | `{evaluation['command']}` |"
    yield "\n## Training data\n"
    yield from (f"- {one['name']} ({one['licence']}): {one['use']}. {one['citation']}" for one in training_data)
    yield "\n## Split\n"
    yield "The split is grouped by patient: no patient is in two parts.\n"
    yield from _split(run)
    yield "\n## Limits\n"
    yield from (f"- {limit}" for limit in LIMITS)
    versions = ", ".join(f"{name} {version}" for name, version in run.get("versions", {}).items())
    yield f"\nMade with {versions}. Licence: Apache-2.0."


def _figures(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    intervals = evaluation["intervals"]["figures"]
    task = task_named(evaluation.get("task", "beat"))
    if task.score != "beats":
        figures, (title, key) = evaluation[task.name], task.figure
        yield title, _value(figures[key], intervals.get(key))
        if task.score == "rhythm":
            for name in ("N", "AF", "other"):
                yield f"F1 of {name}, %", _value(figures["classes"][name]["f1"], intervals.get(f"{name}.f1"))
        if task.baseline_figure is not None:
            title, key = task.baseline_figure
            yield title, _value(figures[key], intervals.get(key))
        return
    yield (
        "R peaks, Se / +P %",
        f"{evaluation['rpeaks']['150ms']['se']:.2f} / {evaluation['rpeaks']['150ms']['ppv']:.2f}",
    )
    for name, counts in (evaluation["beats"] or {}).items():
        yield f"{name}, F1 %", _value(counts["f1"], intervals.get(f"{name}.f1"))
    if evaluation["S_without_232"] is not None:
        yield "S without record 232, F1 %", _value(evaluation["S_without_232"]["f1"], intervals.get("S_without_232.f1"))


def _value(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "not defined"
    return f"{value:.2f}" + (f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else "")


def _split(run: Mapping[str, Any]) -> Iterator[str]:
    fitted = run.get("fitted_on", {})
    for data in run["configuration"]["data"]:
        held_out = ", ".join(data["validation"]) or (
            f"{100 * data['validation_share']:g} % of the patients" if data.get("validation_share") else "none"
        )
        records = fitted.get(data["name"], "")
        fit = f"{len(_names(records))} records"
        yield f"- {data['name']}: fitted on {fit}; held out to choose the epoch: {held_out}"
    mitdb = (data["name"] for data in run["configuration"]["data"] if Path(data["folder"]).name == DEFAULT_DATABASE)
    yield _use_of_ds2({record for name in mitdb for record in _names(fitted.get(name, ""))})


def _use_of_ds2(fitted: Set[str]) -> str:
    """States whether the fit used records of DS2, or other records of a patient in DS2."""
    test = {*DS2, *(name for name, other in SAME_PERSON.items() if other in DS2)}
    if used := sorted(test & fitted):
        return f"- **Fitted on {', '.join(used)} of the test half DS2 of MIT-BIH: its figures on DS2 are void**"
    return (
        "- DS2 of MIT-BIH, and record 201 (the same person as 202 in DS2), were used neither to fit the model nor to "
        "choose the epoch. Figures on DS2 were known while the decision rule of the live pipeline was developed; its "
        "constants were chosen on DS1 and svdb"
    )


def _names(records: str | Sequence[str]) -> Sequence[str]:
    return records.split() if isinstance(records, str) else records

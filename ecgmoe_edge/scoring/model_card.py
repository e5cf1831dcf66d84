"""MODEL_CARD.md of the full-precision model: what it is, what it learned from, what it reaches, where it ends.

Every figure is read from what `ecgmoe-edge evaluate --json` wrote, with the command that wrote it; none is typed.
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
    "A mixture of experts over two paths, the morphology of a beat and its rhythm, with a period-aware gate. It "
    "follows a reading of Xu et al., *ECG-MoE* (arXiv 2603.04589), made from the abstract and the figures; it is no "
    "reproduction of the authors' code. Meant for research on ECG models and on running them on devices, by people "
    "who can judge its output against the signal."
)
LIMITS = (
    "It learned from few people: dozens of patients with annotated beats, mostly adults with arrhythmias, on two "
    "recorders. Figures on other patients, recorders, leads and electrodes may be much lower.",
    "S is judged by what is unlike the wearer's own past. Where S is the wearer's usual beat, as in record 232, it is "
    "missed by design; atrial fibrillation and flutter give false S.",
    "F is rare, and whether it is found differs from patient to patient. Q (paced, unclassifiable) is never said, and "
    "paced records are in no beat figure.",
    "Rhythm is N, AF, other or noisy of the last beats; atrial flutter is `other`.",
    "One lead, with its polarity as the user says it. Not tested on children or with implanted devices.",
    "A beat that the R-peak detector misses is never classified.",
)


def teacher_card(
    run: Mapping[str, Any], training_data: Sequence[Mapping[str, str]], evaluations: Sequence[Mapping[str, Any]]
) -> str:
    """The model card, Markdown.

    Args:
        run: what `train` wrote beside the weights (`teacher.json`).
        training_data: data sets with name, licence, use and citation (`training_data.json`).
        evaluations: what `evaluate --json` gave, one a data set and task.
    """
    return "\n".join(_lines(run, training_data, evaluations)) + "\n"


def read_evaluations(folder: Path) -> list[dict[str, Any]]:
    """The `evaluate --json` outputs (*.json) in a folder, by name.

    Raises:
        UsageError: there is none, or one is something else.
    """
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            evaluation = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as reason:
            raise UsageError(f"{file} is not JSON ({reason}). Write it with `ecgmoe-edge evaluate --json`.") from reason
        if not isinstance(evaluation, dict) or not {"records", "intervals", "command"} <= set(evaluation):
            raise UsageError(f"{file} is not what `ecgmoe-edge evaluate --json` writes. Remove it or write it anew.")
        found.append(evaluation)
    if not found:
        raise UsageError(f"{folder} holds no .json of `ecgmoe-edge evaluate --json`. Write some there first.")
    return found


def _lines(
    run: Mapping[str, Any], training_data: Sequence[Mapping[str, str]], evaluations: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    yield f"# {run['weights']}"
    yield f"\n**{INTENDED_USE}**\n"
    yield ABOUT
    yield "\n## Figures\n"
    yield "The whole live pipeline on its own R peaks, not annotated ones. In brackets: 95 % intervals over patients."
    yield "S is given with and without record 232, which holds most of DS2's S beats.\n"
    yield "| what | value | records | command |\n| --- | --- | --- | --- |"
    for evaluation in evaluations:
        for name, value in _figures(evaluation):
            yield f"| {name} | {value} | {evaluation['records']} | `{evaluation['command']}` |"
    yield "\n## Training data\n"
    yield from (f"- {one['name']} ({one['licence']}): {one['use']}. {one['citation']}" for one in training_data)
    yield "\n## Split\n"
    yield "By patient: no patient is in two of these.\n"
    yield from _split(run)
    yield "\n## Limits\n"
    yield from (f"- {limit}" for limit in LIMITS)
    versions = ", ".join(f"{name} {version}" for name, version in run.get("versions", {}).items())
    yield f"\nMade with {versions}. Licence: Apache-2.0."


def _figures(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    held = evaluation["intervals"]["figures"]
    asked = task_named(evaluation.get("task", "beat"))
    if asked.score != "beats":
        task, (title, key) = asked.name, asked.figure
        yield title, _value(evaluation[task][key], held.get(key))
        if asked.score == "rhythm":
            for name in ("N", "AF", "other"):
                yield f"F1 of {name}, %", _value(evaluation[task]["classes"][name]["f1"], held.get(f"{name}.f1"))
        if asked.beside is not None:
            title, key = asked.beside
            yield title, _value(evaluation[task][key], held.get(key))
        return
    yield (
        "R peaks, Se / +P %",
        f"{evaluation['rpeaks']['150ms']['se']:.2f} / {evaluation['rpeaks']['150ms']['ppv']:.2f}",
    )
    for name, counts in (evaluation["beats"] or {}).items():
        yield f"{name}, F1 %", _value(counts["f1"], held.get(f"{name}.f1"))
    if evaluation["S_without_232"] is not None:
        yield "S without record 232, F1 %", _value(evaluation["S_without_232"]["f1"], held.get("S_without_232.f1"))


def _value(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "none there"
    return f"{value:.2f}" + (f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else "")


def _split(run: Mapping[str, Any]) -> Iterator[str]:
    fitted = run.get("fitted_on", {})
    for data in run["configuration"]["data"]:
        held = ", ".join(data["validation"]) or (
            f"{100 * data['validation_share']:g} % of the patients" if data.get("validation_share") else "nobody"
        )
        records = fitted.get(data["name"], "")
        fit = f"{len(_names(records))} records"
        yield f"- {data['name']}: fitted on {fit}; held out to choose the epoch: {held}"
    of_mitdb = (data["name"] for data in run["configuration"]["data"] if Path(data["folder"]).name == DEFAULT_DATABASE)
    yield _of_ds2({record for name in of_mitdb for record in _names(fitted.get(name, ""))})


def _of_ds2(fitted: Set[str]) -> str:
    """What the fit had of DS2, and of those who are in DS2 under another name."""
    test = {*DS2, *(name for name, other in SAME_PERSON.items() if other in DS2)}
    if of_test := sorted(test & fitted):
        return f"- **Fitted on {', '.join(of_test)} of the test half DS2 of MIT-BIH: its figures on DS2 are void**"
    return (
        "- DS2 of MIT-BIH, and record 201 (the same person as 202 of DS2): in no fit and in no choice of an epoch. "
        "Figures of DS2 were seen while the decision rule of the live pipeline was worked on; its constants are from "
        "DS1 and svdb"
    )


def _names(records: str | Sequence[str]) -> Sequence[str]:
    return records.split() if isinstance(records, str) else records

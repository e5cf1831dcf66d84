"""Patient-specific figures: each record is scored with a layer that was fitted to its own first minutes.

They are no figures of the shared model, and are reported apart from those. Both are scored on the same beats: those
after the labelled minutes. First come the patients who are worse off.

Retrospective figures are a third kind: the labelled beats are chosen from the whole record, as if it is read
afterwards, and are not scored themselves. The layer then knows beats that come after those that it labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ecgmoe_edge.records.annotations import BeatAnnotations
from ecgmoe_edge.scoring.ec57 import Confusion, total_confusion
from ecgmoe_edge.scoring.live_run import AnsweredRecord, LiveRun
from ecgmoe_edge.streaming.events import Beat
from ecgmoe_edge.streaming.monitor import Monitor
from ecgmoe_edge.tasks import BEAT_CLASSES

_CHANCE: Final = 3  # more wrong beats than this, and than the share below, are harm and not chance
_CHANCE_SHARE: Final = 0.001
_SHOWN_CLASSES: Final = ("S", "V", "F")


@dataclass(frozen=True)
class Personalised:
    """One record labelled with the layer of its patient."""

    beats: Sequence[Beat]  # all beats; from the labelled minutes on with the layer, if there is one
    labels: int  # number of labels that took part in the fit
    why_not: str  # why there is no layer; empty if there is one
    labelled: frozenset[int] = frozenset()  # samples of labelled beats among the scored ones, which are left out


#: Fits a layer to the first minutes of a record and labels the record with it: a module-level function or a `partial`
#: of one. The run is that of the shared model.
Personalise: TypeAlias = Callable[[Monitor, AnsweredRecord, LiveRun, BeatAnnotations], Personalised]


@dataclass(frozen=True)
class Protocol:
    """How layers are fitted."""

    personalise: Personalise
    minutes: float  # labelled minutes at the start of each record, which are not scored; infinite: the whole record
    chosen: int | None = None  # number of labelled beats that are chosen in these minutes; None: all beats

    @property
    def retrospective(self) -> bool:
        """Whether the labelled beats are chosen from the whole record."""
        return math.isinf(self.minutes)

    @property
    def kind(self) -> str:
        """Kind of the figures, their key in JSON."""
        return "retrospective" if self.retrospective else "patient_specific"

    def to_json(self) -> dict[str, Any]:
        """For JSON; without minutes if the whole record is labelled."""
        return {"minutes": None if self.retrospective else self.minutes, "chosen_labels": self.chosen}


@dataclass(frozen=True)
class PatientScore:
    """One record without and with the layer of its patient, on the same beats."""

    before: Confusion
    after: Confusion
    labels: int
    why_not: str

    @property
    def more_wrong(self) -> int:
        """By how many beats the layer is worse; negative if it is better."""
        return self.after.wrong - self.before.wrong

    @property
    def harmed(self) -> bool:
        """Whether it is worse by more than chance."""
        return self.more_wrong > self.limit

    @property
    def helped(self) -> bool:
        """Whether it is better by more than chance."""
        return -self.more_wrong > self.limit

    @property
    def limit(self) -> float:
        """Difference of wrong beats that is taken for chance."""
        return max(_CHANCE, _CHANCE_SHARE * self.before.beats)

    def to_json(self) -> dict[str, Any]:
        """For JSON; figures without and with the layer are lists of two."""
        both = self.before, self.after
        return {
            "labels": self.labels,
            "layer": not self.why_not,
            "why_not": self.why_not,
            "wrong": [confusion.wrong for confusion in both],
            "beats": {name: [confusion.class_json(name) for confusion in both] for name in BEAT_CLASSES},
        }


def patient_specific_json(
    scores: Mapping[str, PatientScore], protocol: Protocol, dominant: Sequence[str] = ()
) -> dict[str, Any]:
    """All patient-specific figures for JSON; figures without and with the layers are lists of two.

    Args:
        scores: by record; paced records have none.
        protocol: how the layers were fitted.
        dominant: names of records without which the figures of S are given too.
    """
    both = _totals(scores.values())
    others = [one for name, one in scores.items() if name not in dominant]
    apart = _totals(others) if len(others) < len(scores) else []
    worse = sorted((one for one in scores.items() if one[1].more_wrong > 0), key=lambda one: -one[1].more_wrong)
    return {
        **protocol.to_json(),
        "records": len(scores),
        "with_layer": sum(not one.why_not for one in scores.values()),
        "worse": [{"record": name, "more_wrong": one.more_wrong, "harmed": one.harmed} for name, one in worse],
        "harmed": sum(one.harmed for one in scores.values()),
        "helped": sum(one.helped for one in scores.values()),
        "wrong": [0 if total is None else total.wrong for total in both],
        "beats": {name: [None if total is None else total.class_json(name) for total in both] for name in BEAT_CLASSES},
        "S_without_232": [None if total is None else total.class_json("S") for total in apart] or None,
        "per_record": {name: one.to_json() for name, one in scores.items()},
    }


def patient_specific_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield the output of `patient_specific_json` as lines of text."""
    labelled = "all beats" if figures["chosen_labels"] is None else f"{figures['chosen_labels']} chosen beats"
    yield ""
    if figures["minutes"] is None:
        yield f"RETROSPECTIVE figures: {labelled} of each whole record labelled, all others scored"
    else:
        yield (
            f"PATIENT-SPECIFIC figures: {labelled} of the first {figures['minutes']:g} min of each record labelled, "
            "the rest scored"
        )
    yield f"{figures['with_layer']} of {figures['records']} records got a layer; the others keep the shared model"
    yield f"records with more wrong beats: {_worse(figures['worse'])}"
    yield (
        f"worse by more than {_CHANCE} beats and {100 * _CHANCE_SHARE:g} %: {figures['harmed']}; better by as much: "
        f"{figures['helped']}"
    )
    before, after = figures["wrong"]
    yield f"{'':<18}{'before':>9}{'after':>9}"
    for name in _SHOWN_CLASSES:
        yield f"{f'class {name}, F1 %':<18}{_f1s(figures['beats'][name])}"
    if figures["S_without_232"] is not None:
        yield f"{'S without 232, F1 %':<18}{_f1s(figures['S_without_232'])}"
    yield f"{'wrong beats':<18}{before:>9}{after:>9}"
    refused = {name: one["why_not"] for name, one in figures["per_record"].items() if one["why_not"]}
    for name, why_not in refused.items():
        yield f"no layer for {name}: {why_not}"


def _totals(scores: Collection[PatientScore]) -> list[Confusion | None]:
    return [total_confusion(one.before for one in scores), total_confusion(one.after for one in scores)]


def _worse(listed: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{one['record']} (+{one['more_wrong']})" for one in listed) or "none"


def _f1s(both: Sequence[Mapping[str, Any] | None]) -> str:
    values = [None if each is None else each["f1"] for each in both]
    return "".join(f"{'-' if value is None else format(value, '.2f'):>9}" for value in values)

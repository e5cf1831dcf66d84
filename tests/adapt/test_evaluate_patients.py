"""Patient-specific figures of `evaluate`: apart from those of the shared model, and on the beats after the labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from beat_models import FakeModel
from drawn_patient import FS, DrawnPatient, all_n, draw

from ecgmoe_edge.adapt.protocol import personalise
from ecgmoe_edge.cli.evaluate_patient import adaptation_protocol
from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.annotations import read_annotations
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.scoring.ec57 import Confusion
from ecgmoe_edge.scoring.evaluation import EvaluationOptions, evaluate_record
from ecgmoe_edge.scoring.patient_specific import PatientScore, Protocol, patient_specific_json
from ecgmoe_edge.scoring.results import Evaluation
from ecgmoe_edge.scoring.table import render_table


def protocol(minutes: float, chosen: int | None = None) -> Protocol:
    return Protocol(partial(personalise, minutes=minutes, chosen=chosen), minutes, chosen)


@pytest.mark.parametrize("chosen", [None, 20])
def test_the_labelled_minutes_are_not_scored_and_the_rest_is_scored_twice(
    write_patient: Callable[..., Path], drawn: DrawnPatient, tmp_path: Path, chosen: int | None
) -> None:
    path = write_patient("anna", drawn)
    options = EvaluationOptions(protocol=protocol(1.0, chosen), annotations_dir=tmp_path / "ours")
    result = evaluate_record(path, options, FakeModel(all_n))
    personal = result.patient_specific
    assert personal is not None
    late = np.array(list(drawn.classes))[drawn.r_peaks >= 60 * FS]
    assert personal.before.beats == personal.after.beats == len(late)
    assert (personal.before.wrong, personal.after.wrong) == ((late == "V").sum(), 0)
    assert result.score.confusion is not None
    assert result.score.confusion.counts("V").tp == 0  # the figures of the shared model stay
    evaluation = Evaluation((result,), protocol=options.protocol)
    figures = evaluation.to_json()
    assert figures["patient_specific"]["wrong"] == [(late == "V").sum(), 0]
    assert figures["patient_specific"]["worse"] == []
    assert figures["beats"]["V"]["se"] == 0.0
    lines = render_table(figures).splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("PATIENT-SPECIFIC figures"))
    assert lines[start + 2] == "records with more wrong beats: none"
    written = read_annotations(open_recording(path), "atr")
    ours = (tmp_path / "ours" / "anna.ecgmoe").read_bytes()
    path.with_suffix(".ecgmoe").write_bytes(ours)
    adapted = read_annotations(open_recording(path), "ecgmoe")
    after = written.samples >= 60 * FS
    assert adapted.classes[after].tolist() == late.tolist()
    assert set(adapted.classes[~after]) == {"N"}


def test_where_the_gate_refuses_the_layer_the_shared_model_stays(
    write_patient: Callable[..., Path], drawn: DrawnPatient
) -> None:
    few = evaluate_record(
        write_patient("few", drawn), EvaluationOptions(protocol=protocol(0.2)), FakeModel(all_n)
    ).patient_specific
    assert few is not None
    assert "fewer than 20" in few.why_not
    assert (few.before.table == few.after.table).all()


def test_a_record_without_a_beat_after_the_labelled_minutes_cannot_be_scored(
    write_patient: Callable[..., Path], drawn: DrawnPatient
) -> None:
    with pytest.raises(RecordError, match="no annotated beat after the 5 labelled minutes"):
        evaluate_record(write_patient("short", drawn), EvaluationOptions(protocol=protocol(5.0)), FakeModel(all_n))


def test_a_paced_record_has_no_patient_specific_figures(write_patient: Callable[..., Path]) -> None:
    drawn = draw(40.0)
    result = evaluate_record(
        write_patient("paced", drawn, "/"), EvaluationOptions(protocol=protocol(0.5)), FakeModel(all_n)
    )
    assert result.patient_specific is None
    assert Evaluation((result,), protocol=protocol(0.5)).to_json()["patient_specific"]["records"] == 0


def _score(before: int, after: int, beats: int = 1000) -> PatientScore:
    """A record of N beats of which so many are called V."""
    tables = []
    for wrong in (before, after):
        confusion = Confusion.empty()
        confusion.table[0, 0], confusion.table[0, 2] = beats - wrong, wrong
        tables.append(confusion)
    return PatientScore(tables[0], tables[1], 300, "")


def test_the_patients_who_are_worse_off_come_first_with_the_number_of_beats() -> None:
    scores = {"a": _score(50, 10), "b": _score(2, 6), "c": _score(5, 25), "d": _score(3, 5), "e": _score(7, 7)}
    figures = patient_specific_json(scores, protocol(5.0))
    assert figures["worse"] == [
        {"record": "c", "more_wrong": 20, "harmed": True},
        {"record": "b", "more_wrong": 4, "harmed": True},
        {"record": "d", "more_wrong": 2, "harmed": False},
    ]
    assert (figures["harmed"], figures["helped"], figures["wrong"]) == (2, 1, [67, 53])
    assert figures["S_without_232"] is None


def test_wrong_beats_are_those_with_another_label_and_false_ectopic_beats() -> None:
    confusion = Confusion.empty()
    confusion.table[:] = np.arange(36).reshape(6, 6)
    rows = confusion.table[:4, :5]
    assert confusion.wrong == rows.sum() - np.trace(rows) + confusion.table[5, 1:4].sum()
    assert confusion.beats == confusion.table[:4].sum()


def test_beats_chosen_from_the_whole_record_are_not_scored_and_their_figures_have_a_name_of_their_own(
    write_patient: Callable[..., Path], drawn: DrawnPatient
) -> None:
    options = EvaluationOptions(protocol=protocol(math.inf, 20))
    result = evaluate_record(write_patient("later", drawn), options, FakeModel(all_n))
    personal = result.patient_specific
    assert personal is not None
    assert personal.labels == 20
    assert personal.before.beats == personal.after.beats == len(drawn.classes) - 20
    assert personal.before.wrong > 0
    assert personal.after.wrong == 0
    figures = Evaluation((result,), protocol=options.protocol).to_json()
    assert "patient_specific" not in figures
    assert figures["retrospective"]["minutes"] is None
    assert figures["retrospective"]["wrong"] == [personal.before.wrong, 0]
    assert "RETROSPECTIVE figures: 20 chosen beats of each whole record labelled, all others scored" in render_table(
        figures
    )


@pytest.mark.parametrize(("minutes", "chosen"), [(5.0, 20), (None, None)])
def test_retrospective_figures_need_a_number_of_labels_and_no_minutes(
    minutes: float | None, chosen: int | None
) -> None:
    with pytest.raises(UsageError, match="--retrospective chooses from the whole record"):
        adaptation_protocol(minutes, chosen, retrospective=True, peaks_only=False, whole=False)

"""The choice of beats that are worth a label, and labels that spread."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_patient import DrawnPatient, collected

from ecgmoe_edge.adapt.adaptation import adapt, first_seconds, usable_before, window_s
from ecgmoe_edge.adapt.beats import PatientBeats
from ecgmoe_edge.adapt.choice import choose
from ecgmoe_edge.adapt.fit import Labelled
from ecgmoe_edge.adapt.labels import BeatLabels
from ecgmoe_edge.adapt.spreading import spreading
from ecgmoe_edge.adapt.suggestion import strip_drawing, write_suggestion
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.registry import open_recording

V = 2


def test_half_of_the_chosen_beats_stand_for_clusters_and_both_kinds_of_beats_are_among_them(
    patient: PatientBeats, drawn: DrawnPatient
) -> None:
    window = usable_before(patient, 120.0)
    choice = choose(patient, window, 20)
    assert len(choice.centres) <= 10
    assert len(choice.beats) == len(set(choice.beats.tolist())) == 20
    assert {drawn.classes[beat] for beat in choice.centres.tolist()} == {"N", "V"}
    assert np.isin(choice.beats, window).all()
    assert choose(patient, window, 20).beats.tolist() == choice.beats.tolist()


def test_the_labels_of_a_few_beats_spread_over_all_beats_that_look_alike(
    patient: PatientBeats, drawn: DrawnPatient
) -> None:
    window = usable_before(patient, 120.0)
    truth = patient.class_of(drawn.r_peaks, list(drawn.classes))
    centres = choose(patient, window, 20).centres
    spread = spreading(patient, window, centres)(Labelled(centres, truth[centres], np.ones(len(centres))))
    assert spread.beats.tolist() == window.tolist()
    assert (spread.classes == truth[window]).mean() > 0.95
    assert set(spread.emphasis[np.isin(window, centres)]) == {5.0}


def test_without_a_label_a_cluster_keeps_the_labels_of_the_shared_model(
    patient: PatientBeats, drawn: DrawnPatient
) -> None:
    window = usable_before(patient, 120.0)
    truth = patient.class_of(drawn.r_peaks, list(drawn.classes))
    centres = choose(patient, window, 20).centres
    normal = centres[truth[centres] != V]
    spread = spreading(patient, window, centres)(Labelled(normal, truth[normal], np.ones(len(normal))))
    assert set(spread.classes.tolist()) == {0}


def test_twenty_chosen_labels_teach_what_all_labels_teach(patient: PatientBeats, drawn: DrawnPatient) -> None:
    truth = patient.class_of(drawn.r_peaks, list(drawn.classes))
    window = usable_before(patient, 60.0)
    choice = choose(patient, window, 20, oracle=lambda beats: truth[beats])
    chosen = choice.beats
    labels = BeatLabels(
        patient.samples[chosen], tuple(drawn.classes[beat] for beat in chosen), np.sort(patient.samples[choice.centres])
    )
    adaptation = adapt(patient, labels, 60.0)
    assert adaptation.spread_over == len(window)
    assert adaptation.layer is not None
    later = patient.times_s >= 60.0
    found = patient.outcome(adaptation.layer).labels
    assert (found[later] == np.array(list(drawn.classes))[later]).all()


def test_beats_are_chosen_among_the_candidates_alone(patient: PatientBeats) -> None:
    window = usable_before(patient, 120.0)
    candidates = window[::3]
    assert np.isin(choose(patient, window, 20, candidates=candidates).beats, candidates).all()
    assert len(choose(patient, window, 20, candidates=candidates[:7]).beats) == 7


def test_the_suggestion_is_a_page_and_a_table_to_fill_in(
    patient: PatientBeats, drawn: DrawnPatient, write_patient: Callable[..., Path], tmp_path: Path
) -> None:
    recording = open_recording(write_patient("anna", drawn))
    page, table, beats = write_suggestion(tmp_path / "out", patient, recording, [0], 20, 120.0)
    rows = list(csv.DictReader(table.open(newline="")))
    assert (
        [int(row["sample"]) for row in rows]
        == [beat["sample"] for beat in beats]
        == sorted(int(row["sample"]) for row in rows)
    )
    assert {row["label"] for row in rows} == {""}
    assert {row["chosen_as"] for row in rows} == {"cluster", "uncertain"}
    text = page.read_text(encoding="utf-8")
    assert text.count("<figure>") == 20
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    with pytest.raises(RecordError, match="may have labels"):
        write_suggestion(tmp_path / "out", patient, recording, [0], 20, 120.0)
    with pytest.raises(RecordError, match="use more of it with --minutes"):
        write_suggestion(tmp_path / "more", patient, recording, [0], 20, 10.0)


def test_a_strip_has_a_trace_for_each_stretch_of_valid_samples() -> None:
    signal = np.sin(np.arange(1000) / 30.0)[None].repeat(2, axis=0)
    signal[1, 400:500] = np.nan
    drawing = strip_drawing(signal, 250.0, 500, [(200, "N"), (500, "")]).decode()
    assert drawing.count("<polyline") == 3
    assert ">N</text>" in drawing
    assert strip_drawing(np.full((1, 10), np.nan), 250.0, 5, []).count(b"<polyline") == 0


def test_a_recording_is_read_no_further_than_its_labels_need() -> None:
    labels = BeatLabels(np.array([2500]), ("N",))
    assert window_s(labels, 250.0, None) == pytest.approx(11.0)
    assert window_s(labels, 250.0, 60.0) == 60.0
    chosen = BeatLabels(np.array([2500]), ("N",), np.array([2500]))
    assert window_s(chosen, 250.0, None) == 300.0
    read = list(first_seconds(iter([np.zeros((1, 100))] * 5), 250))
    assert [block.shape[1] for block in read] == [100, 100, 50]


def test_a_recording_of_poor_beats_has_nothing_to_choose(drawn: DrawnPatient) -> None:
    from beat_models import answering

    assert len(usable_before(collected(drawn, answering("?")), 120.0)) == 0

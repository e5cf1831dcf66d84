"""Atrial fibrillation from the RR intervals of annotated beats, by a model and by CoSEn."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated_records import annotate, irregular, regular
from beat_models import FakeModel, Tensors, always
from installed_command import Cli
from numpy.typing import NDArray

from ecgmoe_edge.errors import ModelError, UsageError
from ecgmoe_edge.records.annotations import RhythmSegment
from ecgmoe_edge.scoring.annotated_beats import score_annotated_beats
from ecgmoe_edge.scoring.record_runs import ModelFile
from ecgmoe_edge.scoring.rhythm_durations import ANSWERS, RHYTHMS, af_durations, reported_af, rhythm_durations
from ecgmoe_edge.scoring.rhythm_from_intervals import normal_beat, reported_rhythms
from ecgmoe_edge.streaming.events import Rhythm
from ecgmoe_edge.streaming.features import FEATURE_CENTRE, FEATURE_SCALE
from ecgmoe_edge.streaming.patient.rr_history import IRREGULAR_SHARE, RR_KNOWN, RRHistory

pytest.importorskip("wfdb", reason="annotations need the records extra")
PRETRAINED = Path(str(resources.files("ecgmoe_edge"))) / "pretrained"


def _by_irregularity(inputs: Tensors) -> Tensors:
    """AF if more than 30 % of the last RR intervals are irregular, else N."""
    share = inputs["features"][:, IRREGULAR_SHARE] * FEATURE_SCALE[IRREGULAR_SHARE] + FEATURE_CENTRE[IRREGULAR_SHARE]
    af = np.where(share > 0.3, 4.0, -4.0).astype(np.float32)
    rows = np.zeros_like(af)
    return {
        "beat": np.tile(np.array([9, 0, 0, 0], np.float32), (len(af), 1)),
        "rhythm": np.stack([rows, af, rows - 9, rows - 9], axis=1),
    }


def irregularity_model(*, batched: bool = False) -> FakeModel:
    return FakeModel(_by_irregularity, ("beat", "rhythm"), batched=batched)


def load_irregularity_model(_path: Path) -> FakeModel:
    return irregularity_model()


def load_beat_model(_path: Path) -> FakeModel:
    return always("N")


def load_context_model(_path: Path) -> FakeModel:
    return FakeModel(_by_irregularity, ("beat", "rhythm"), context_samples=1280)


def always_af() -> FakeModel:
    rhythm = np.array([[0, 9, 0, 0]], np.float32)
    return FakeModel(
        lambda inputs: {"rhythm": np.tile(rhythm, (len(inputs["beat"]), 1))}, ("beat", "rhythm"), batched=True
    )


def times_of(*stretches: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.cumsum(np.concatenate(stretches))


def test_the_seconds_of_each_kind_are_those_of_the_duration_table() -> None:
    annotated = [
        RhythmSegment("N", 0, 10_000),
        RhythmSegment("AFIB", 10_000, 20_000),
        RhythmSegment("B", 20_000, 30_000),
    ]
    events = [
        Rhythm("N", 5.0, 60.0),
        Rhythm("AF", 60.0, None),
        Rhythm("AF", 60.0, 90.0),
        Rhythm("AF", 120.0, 180.0),
        Rhythm("noisy", 180.0, 190.0),
        Rhythm("AF", 195.0, 230.0),
        Rhythm("AF", 400.0, 500.0),
    ]
    for first_s in (0.0, 70.0):
        table = rhythm_durations(annotated, events, 100.0, first_s)
        af = RHYTHMS.index("AF"), ANSWERS.index("AF")
        both = table[af]
        expected = [both, table[af[0]].sum() - both, table[:, af[1]].sum() - both]
        assert af_durations(annotated, *reported_af(events), 100.0, first_s) == pytest.approx(expected)
    assert af_durations(annotated, *reported_af([]), 100.0, 0.0).tolist() == [0.0, 100.0, 0.0]


def test_a_model_reports_fibrillation_while_the_intervals_are_irregular() -> None:
    times = times_of(regular(400), irregular(500), regular(400))
    (episode,) = [one for one in reported_rhythms(times, irregularity_model()) if one.label == "AF" and one.to_s]
    # The share of 32 intervals and the mean score follow a change within 40 beats.
    assert times[400] < episode.from_s < times[440]
    assert times[899] < (episode.to_s or 0.0) < times[940]


def test_every_beat_has_the_features_of_the_live_stream_and_the_same_waveform() -> None:
    times = times_of(regular(200), np.array([30.0]), irregular(99))
    model = irregularity_model(batched=True)
    events = reported_rhythms(times, model)
    assert [len(one["beat"]) for one in model.inputs] == [128, 128, 44]
    inputs = {name: np.concatenate([one[name] for one in model.inputs]) for name in model.inputs[0]}
    history = RRHistory()
    for beat, rr_s in enumerate([None, *np.diff(times).tolist()]):
        features, sequence = history.add(None if rr_s is None or rr_s > 4.0 else rr_s)
        assert np.array_equal(inputs["rr_sequence"][beat], sequence)
        scaled = (features[: RR_KNOWN + 1] - FEATURE_CENTRE[: RR_KNOWN + 1]) / FEATURE_SCALE[: RR_KNOWN + 1]
        known = features[RR_KNOWN] == 1.0
        assert known == (beat not in (0, 200))
        if known:
            assert inputs["features"][beat, : RR_KNOWN + 1] == pytest.approx(np.clip(scaled, -4, 4), abs=1e-5)
    waveforms = inputs["beat"]
    assert np.array_equal(waveforms, np.broadcast_to(waveforms[:1, :1], waveforms.shape))  # template = window
    assert np.abs(waveforms).max() == pytest.approx(1.0, abs=0.1)  # in R amplitudes

    one_by_one = irregularity_model()
    assert reported_rhythms(times, one_by_one) == events
    assert {len(one["beat"]) for one in one_by_one.inputs} == {1}


def test_a_gap_and_the_end_of_the_record_end_an_episode() -> None:
    times = times_of(irregular(100), np.array([60.0]), irregular(99, seed=5))
    ended = [(one.label, one.from_s, one.to_s) for one in reported_rhythms(times, always_af()) if one.to_s is not None]
    assert ended == [("AF", times[0], times[99]), ("AF", times[100], times[199])]


def test_fibrillation_is_not_reported_from_few_intervals() -> None:
    assert reported_rhythms(times_of(irregular(16)), always_af()) == []
    assert reported_rhythms(times_of(irregular(17)), always_af()) != []
    assert reported_rhythms(np.zeros(0), always_af()) == []


def test_beats_with_the_same_time_are_accepted() -> None:
    times = np.repeat(times_of(irregular(100)), 2)
    assert reported_rhythms(times, always_af())[-1].to_s == times[-1]


def test_outputs_that_are_not_finite_are_refused() -> None:
    model = FakeModel(lambda _: {"rhythm": np.full((1, 4), np.nan, np.float32)}, ("beat", "rhythm"))
    with pytest.raises(ModelError, match="NaN or infinity"):
        reported_rhythms(times_of(regular(20)), model)


@pytest.mark.parametrize(("load", "why"), [(load_beat_model, "recognise rhythms"), (load_context_model, "the signal")])
def test_a_model_that_cannot_be_scored_so_is_refused_with_a_remedy(tmp_path: Path, load: Any, why: str) -> None:
    annotate(tmp_path / "long", "af", irregular(200), [(0, "AFIB")])
    with pytest.raises(UsageError, match=f"{why}.*--bundle or --student"):
        score_annotated_beats([tmp_path / "long" / "af"], ModelFile(Path("model"), load))


def test_the_seconds_of_the_model_stand_beside_those_of_cosen(tmp_path: Path) -> None:
    folder = tmp_path / "long"
    rr = np.concatenate([regular(400), irregular(500), regular(400)])
    annotate(folder, "some", rr, [(0, "N"), (400, "AFIB"), (900, "N")])
    annotate(folder, "none", regular(1000), [(0, "N")])
    paths = [folder / "some", folder / "none"]
    report = score_annotated_beats(paths, ModelFile(Path("model"), load_irregularity_model), whole=True).to_json()
    some = report["per_record"]["some"]
    af_s = float(rr[400:900].sum())
    for seconds in (some, some["model_af"]):
        assert seconds["annotated_and_reported_s"] + seconds["annotated_only_s"] == pytest.approx(af_s, abs=0.2)
        assert 0.0 < seconds["annotated_only_s"] < 64.0
        assert seconds["annotated_and_reported_s"] > 0.85 * af_s
    assert report["per_record"]["none"]["model_af"] == {
        "annotated_and_reported_s": 0.0,
        "annotated_only_s": 0.0,
        "reported_only_s": 0.0,
    }
    both, false = some["model_af"]["annotated_and_reported_s"], some["model_af"]["reported_only_s"]
    assert 0.0 < false < 40.0
    assert report["model_af"]["AF"]["ppv"] == pytest.approx(100.0 * both / (both + false), abs=0.02)
    assert report["model_af"]["intervals"].keys() == report["cosen"]["intervals"].keys()


def _command(folder: Path, *further: str) -> tuple[str, ...]:
    return ("evaluate", "--data", str(folder), "--task", "rhythm", "--annotated-beats", "--jobs", "1", *further)


def test_the_command_scores_the_shipped_bundle_beside_cosen(tmp_path: Path, cli: Cli) -> None:
    pytest.importorskip("onnxruntime", reason="the shipped bundle runs in onnxruntime")
    folder = tmp_path / "long"
    for name, seed in (("af1", 1), ("af2", 2)):
        annotate(folder, name, irregular(1000, seed), [(0, "AFIB")])
    annotate(folder, "sinus", regular(1000), [(0, "N")])
    annotate(folder, "unlabelled", regular(1000), [])
    done = cli(*_command(folder, "--jobs", "2", "--json"))
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["beats"], report["records"]) == ("annotated", 3)
    assert report["model"]["kind"] == "bundle"
    assert report["cosen"].keys() - report["model_af"].keys() == {"threshold"}
    for figures, least_se in ((report["cosen"], 90.0), (report["model_af"], 75.0)):
        assert figures["AF"]["se"] > least_se
        assert figures["AF"]["ppv"] == 100.0
        assert figures["intervals"]["se"] is not None
    assert "no rhythm annotations" in report["skipped_records"]["unlabelled"]
    assert report["per_record"]["sinus"]["reported_only_s"] == 0.0
    text = cli(*_command(folder)).out
    assert "AF by the model, %: Se" in text
    assert "AF by CoSEn" in text


def test_cosen_can_be_scored_without_a_model(tmp_path: Path, cli: Cli) -> None:
    annotate(tmp_path / "long", "af", irregular(1000), [(0, "AFIB")])
    done = cli(*_command(tmp_path / "long", "--only", "rpeaks", "--json"))
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert report["cosen"]["AF"]["se"] > 90.0
    assert report["model_af"] is None
    assert report["per_record"]["af"]["model_af"] is None
    assert report["model"]["kind"].startswith("none")
    assert "the model" not in cli(*_command(tmp_path / "long", "--only", "rpeaks")).out


@pytest.mark.parametrize(
    ("model", "why"),
    [(["--student", str(PRETRAINED / "student-nano.safetensors")], "recognise rhythms"), (["--teacher"], "the signal")],
)
def test_the_shipped_nano_student_and_the_teacher_are_refused(
    tmp_path: Path, cli: Cli, model: list[str], why: str
) -> None:
    pytest.importorskip("torch", reason="these models run in torch")
    annotate(tmp_path / "long", "af", irregular(200), [(0, "AFIB")])
    done = cli(*_command(tmp_path / "long", *model))
    assert done.code == 2
    assert why in done.err
    assert not done.out


@pytest.mark.parametrize(
    ("further", "named"),
    [
        (["--task", "beat"], "--task rhythm"),
        (["--task", "rhythm", "--lead", "0"], "--lead"),
        (["--task", "rhythm", "--invert", "--reference", "neurokit"], "--invert and --reference"),
    ],
)
def test_options_that_need_a_signal_are_refused(tmp_path: Path, cli: Cli, further: list[str], named: str) -> None:
    if "--reference" in further:
        pytest.importorskip("neurokit2", reason="the offline detector is of neurokit2")
    annotate(tmp_path / "long", "af", irregular(200), [(0, "AFIB")])
    done = cli("evaluate", "--data", str(tmp_path / "long"), "--annotated-beats", *further)
    assert done.code == 2
    assert "--annotated-beats" in done.err
    assert named in done.err
    assert not done.out


def test_the_normal_beat_is_labelled_n_by_the_shipped_bundle() -> None:
    pytest.importorskip("onnxruntime", reason="the shipped bundle runs in onnxruntime")
    from ecgmoe_edge.contract import assemble_inputs
    from ecgmoe_edge.runtime import load_bundle, shipped_bundle

    history = RRHistory()
    for rr_s in regular(50).tolist():
        features, sequence = history.add(rr_s)
    normal = normal_beat()
    waveform = normal.waveform[None]
    inputs = assemble_inputs(
        waveform, waveform, np.array([normal.amplitude], np.float32), features[None], sequence[None]
    )
    model = load_bundle(shipped_bundle())
    assert model.classes["beat"][int(model.infer(inputs)["beat"][0].argmax())] == "N"

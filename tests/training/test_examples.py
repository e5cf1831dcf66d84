from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import wfdb

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.features import model_inputs
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.patient.rr_history import RR_FEATURE_NAMES
from ecgmoe_edge.streaming.signal.windows import WIDE_GRID
from ecgmoe_edge.tasks import BEAT_ANSWERS
from ecgmoe_edge.training import cache as cache_module
from ecgmoe_edge.training.augment import Augmenter, clean_batch, read_noise
from ecgmoe_edge.training.cache import ExampleSets, build_examples, cache_path, cached_examples
from ecgmoe_edge.training.config import Augment, DataSet, Draw, TrainingConfig
from ecgmoe_edge.training.examples import ARRAYS, Examples, examples_of
from ecgmoe_edge.training.sampling import epoch_indices
from ecgmoe_edge.training.sources import Source, divide


def _source(patients: Path, name: str = "p0", **settings: object) -> Source:
    return Source(DataSet("ward", "ward", rhythm=True, **settings), patients / "ward" / name, name)  # type: ignore[arg-type]


def test_nearly_every_annotated_beat_becomes_an_example_with_its_class(patients: Path) -> None:
    examples = examples_of(_source(patients))
    truth = wfdb.rdann(str(patients / "ward" / "p0"), "atr")
    for label, symbol in enumerate("NAV"):
        annotated = truth.symbol.count(symbol)
        assert annotated * 0.9 <= (examples.labels["beat"] == label).sum() <= annotated
    assert examples.labels["age"][0] == 40
    assert examples.labels["sex"][0] == 0
    assert np.all(np.diff(examples.sample) > 0)


def test_an_example_equals_the_output_of_the_front_end_bit_for_bit(patients: Path) -> None:
    source = _source(patients)
    examples = examples_of(source)
    signal = wfdb.rdrecord(str(source.path)).p_signal[:, 0]
    front_end = FrontEnd(250.0)  # as in a monitor: narrow windows, no context
    stream = [item for at in range(0, len(signal), 50) for item in front_end.push(signal[None, at : at + 50])]
    beats = {item.sample: item for item in stream if isinstance(item, BeatContext)}
    index = np.array([30, 31, 50], np.int64)
    batch = clean_batch(examples, index)
    for row, i in enumerate(index):
        beat = beats[int(examples.sample[i])]
        amplitude = np.array([beat.amplitude], np.float32)
        live, features = model_inputs(beat.window[None], beat.template[None], amplitude, beat.rr_features[None])
        np.testing.assert_array_equal(batch.beat[row].numpy(), live[0])
        np.testing.assert_array_equal(batch.features[row].numpy(), features[0])
        np.testing.assert_array_equal(batch.rr_sequence[row].numpy(), beat.rr_sequence)


def test_the_context_ends_with_the_window(examples: Examples) -> None:
    np.testing.assert_allclose(examples.context[:, -len(WIDE_GRID) :], examples.window, atol=2e-3)


def test_rr_label_is_the_mean_interval_and_unknown_before_the_context_is_full(examples: Examples) -> None:
    early = examples.sample < 8.0 * 250.0
    assert np.isnan(examples.labels["rr"][early]).all()
    assert np.nanmean(examples.labels["rr"]) == pytest.approx(0.79, abs=0.08)


def test_a_rhythm_label_needs_five_seconds_of_the_rhythm(examples: Examples) -> None:
    known = examples.labels["rhythm"] >= 0
    assert known.mean() > 0.8
    assert examples.sample[known].min() >= 5.0 * 250.0


def test_paced_records_give_examples_without_beat_labels(patients: Path) -> None:
    examples = examples_of(_source(patients, without_beat_labels=("p0",)))
    assert len(examples) > 50
    assert (examples.labels["beat"] == -1).all()
    assert (examples.labels["rhythm"] >= 0).any()


def test_beats_per_record_and_first_s_select_beats(patients: Path) -> None:
    examples = examples_of(_source(patients, beats_per_record=10, first_s=20.0))
    assert len(examples) == 10
    assert examples.sample[0] >= 20 * 250
    assert examples.sample[-1] > 50 * 250


def test_cached_examples_equal_fresh_ones(patients: Path, tmp_path: Path) -> None:
    source = _source(patients)
    made, read = cached_examples(source, tmp_path), cached_examples(source, tmp_path)
    assert made.arrays().keys() == read.arrays().keys() == set(ARRAYS)
    for name in ARRAYS:
        np.testing.assert_array_equal(made.arrays()[name], read.arrays()[name])
    assert len(list(tmp_path.iterdir())) == 1


def test_cached_examples_are_made_again_if_record_settings_or_front_end_change(
    patients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _source(patients, "p1")
    first = cache_path(source, tmp_path)
    assert cache_path(_source(patients, "p1", first_s=1.0), tmp_path) != first
    assert cache_path(_source(patients, "p1", without_beat_labels=("p1",)), tmp_path) != first
    stat = source.path.with_suffix(".atr").stat()
    os.utime(source.path.with_suffix(".atr"), ns=(stat.st_atime_ns, stat.st_mtime_ns + 1000))
    second = cache_path(source, tmp_path)
    assert second != first
    monkeypatch.setattr(cache_module, "front_end_digest", lambda: "another front end")
    assert cache_path(source, tmp_path) != second


def test_the_digest_covers_all_modules_that_examples_and_labels_depend_on() -> None:
    code = "import sys, ecgmoe_edge.training.examples; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    # All modules that it imports are loaded before it.
    before = loaded[: loaded.index("ecgmoe_edge.training.examples") + 1]
    covered = cache_module.front_end_modules()
    assert {
        "ecgmoe_edge.streaming.frontend",
        "ecgmoe_edge.streaming.qrs.detector",
        "ecgmoe_edge.streaming.signal.filters",
        "ecgmoe_edge.scoring.matching",
        "ecgmoe_edge.records.annotations",
        "ecgmoe_edge.training.examples",
        "ecgmoe_edge.records.formats.wfdb_record",
    } <= covered.keys()
    # Importing the front end also imports its package, whose other modules do not affect examples.
    deciding = "classifier decision labeller model_faults patient.own_layer patient.shapes rhythm"
    labelling = tuple(
        f"{deciding} beat_model events input_checks monitor totals engines c_engine reference_stages".split()
    )
    front_end = {name.removeprefix("ecgmoe_edge.streaming.") for name in before if "ecgmoe_edge.streaming." in name}
    front_end -= {"signal", "qrs", "patient"}  # packages that contain no code
    missing = {name for name in front_end if f"ecgmoe_edge.streaming.{name}" not in covered}
    assert not {name for name in missing if not name.startswith(labelling)}


@pytest.mark.parametrize("module", ["ecgmoe_edge.scoring.matching", "ecgmoe_edge.records.annotations"])
def test_another_pairing_or_class_map_gives_another_digest(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache_module._source_digest()
    source = cache_module._source_of
    monkeypatch.setattr(cache_module, "_source_of", lambda name: source(name) + b"#" * (name == module))
    assert cache_module._source_digest() != before


def test_a_truncated_cache_file_is_replaced(patients: Path, tmp_path: Path) -> None:
    source = _source(patients)
    whole = cached_examples(source, tmp_path)
    path = cache_path(source, tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    assert len(cached_examples(source, tmp_path)) == len(whole)
    assert path.stat().st_size > 10_000


def test_two_processes_give_the_same_sets_as_one(
    patients: Path, tiny_config: TrainingConfig, sets: ExampleSets, tmp_path: Path
) -> None:
    again = build_examples(tiny_config, patients, tmp_path, jobs=2)
    assert again.fit.records == sets.fit.records == ("ward/p0", "ward/p1", "ward/p2")
    assert list(again.validation) == ["ward"]
    for name in ARRAYS:
        np.testing.assert_array_equal(again.fit.arrays()[name], sets.fit.arrays()[name])


def test_selection_by_validation_share_does_not_depend_on_other_records(patients: Path) -> None:
    data = DataSet("ward", "ward", validation_share=0.5)
    division = divide(data, patients)
    fit, held = ({source.path.name for source in half} for half in (division.fit, division.validation))
    assert fit | held == {"p0", "p1", "p2", "p3"}
    assert not fit & held
    some = divide(msgspec.structs.replace(data, leave_out=tuple(sorted(fit))[:1]), patients)
    assert {source.path.name for source in some.validation} == held


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"fit": ("p9",)}, RecordError, "lacks p9"),
        ({"fit": ("p0",), "validation": ("p0",)}, UsageError, "for both fit and validation"),
        ({"leave_out": ("p0", "p1", "p2", "p3")}, UsageError, "no record left"),
        ({"folder": "nowhere"}, RecordError, "there is no folder"),
        ({"folder": "ward", "labels": "cinc2017"}, RecordError, r"REFERENCE\.csv"),
        ({"folder": "ward", "labels": "ptbxl"}, RecordError, r"ptbxl_database\.csv"),
    ],
)
def test_a_data_set_that_cannot_be_divided_is_refused_with_the_reason(
    patients: Path, settings: dict[str, object], error: type[Exception], message: str
) -> None:
    data = msgspec.convert({"name": "x", "folder": "ward"} | settings, DataSet)
    with pytest.raises(error, match=message):
        divide(data, patients)


def test_an_absent_lead_is_refused(patients: Path) -> None:
    with pytest.raises(RecordError, match="no lead"):
        examples_of(replace(_source(patients), lead=3))


# -- augmentation


def _augmenter(noise: np.ndarray | None = None, **strengths: float) -> Augmenter:
    none = dict.fromkeys(Augment.__struct_fields__, 0.0)
    return Augmenter(Augment(**{**none, **strengths}), noise)


def test_augmentation_with_zero_strength_changes_nothing(examples: Examples) -> None:
    index = np.arange(40, dtype=np.int64)
    clean = clean_batch(examples, index)
    same = _augmenter().batch(examples, index, np.random.default_rng(0))
    for name in ("beat", "features", "rr_sequence", "context", "long_beat", "long_features"):
        np.testing.assert_allclose(getattr(same, name), getattr(clean, name), atol=1e-5)


def test_the_same_generator_state_gives_the_same_batch_and_examples_stay_unchanged(examples: Examples) -> None:
    index, before = np.arange(40, dtype=np.int64), examples.window.copy()
    one, two = (Augmenter(Augment()).batch(examples, index, np.random.default_rng(5)) for _ in range(2))
    assert (one.beat == two.beat).all()
    assert (one.context == two.context).all()
    np.testing.assert_array_equal(examples.window, before)


def test_jitter_shifts_the_beat_within_its_limit_and_not_the_template(examples: Examples) -> None:
    index = np.flatnonzero(examples.labels["beat"] == 0)[:60].astype(np.int64)
    clean = clean_batch(examples, index)
    moved = _augmenter(jitter_ms=20.0).batch(examples, index, np.random.default_rng(1))
    shift = (moved.beat[:, 0].argmax(1) - clean.beat[:, 0].argmax(1)).abs()
    assert 1 <= shift.max() <= 3  # 20 ms are 2.56 samples
    np.testing.assert_allclose(moved.beat[:, 1], clean.beat[:, 1], atol=1e-5)


def test_student_and_teacher_get_the_same_augmented_beat(examples: Examples) -> None:
    made = Augmenter(Augment()).batch(examples, np.arange(40, dtype=np.int64), np.random.default_rng(3))
    points = made.beat.shape[-1]
    assert made.long_beat.shape[-1] > points
    np.testing.assert_array_equal(made.long_beat[..., :points], made.beat)
    of_rr = slice(len(RR_FEATURE_NAMES))
    np.testing.assert_array_equal(made.long_features[:, of_rr], made.features[:, of_rr])


def test_a_flip_inverts_beat_template_and_context(examples: Examples) -> None:
    index = np.arange(20, dtype=np.int64)
    clean = clean_batch(examples, index)
    flipped = _augmenter(flip_share=1.0).batch(examples, index, np.random.default_rng(0))
    np.testing.assert_allclose(flipped.beat, -clean.beat, atol=1e-5)
    np.testing.assert_allclose(flipped.context, -clean.context, atol=1e-5)
    np.testing.assert_allclose(flipped.features, clean.features, atol=1e-4)


def test_only_the_length_of_the_patient_history_is_randomized(examples: Examples) -> None:
    index = np.arange(len(examples), dtype=np.int64)
    clean = clean_batch(examples, index)
    made = _augmenter(memory_share=1.0).batch(examples, index, np.random.default_rng(0))
    length = RR_FEATURE_NAMES.index("length of memory")
    assert abs(np.corrcoef(made.features[:, length], clean.features[:, length])[0, 1]) < 0.1
    others = [name for name in range(clean.features.shape[1]) if name != length]
    np.testing.assert_allclose(made.features[:, others], clean.features[:, others], atol=1e-5)
    np.testing.assert_array_equal(made.rr_sequence, clean.rr_sequence)


def test_noise_has_the_configured_strength_and_fraction_of_beats(
    examples: Examples, patients: Path, tiny_config: TrainingConfig
) -> None:
    assert tiny_config.noise is not None
    noise = read_noise(tiny_config.noise, patients)
    index = np.arange(len(examples), dtype=np.int64)
    clean = clean_batch(examples, index)
    maker = _augmenter(noise, noise_share=0.5, noise_least=0.1, noise_most=0.1)
    added = (maker.batch(examples, index, np.random.default_rng(0)).beat[:, 0] - clean.beat[:, 0]).numpy()
    level = added.std(axis=1)
    assert 0.4 < (level > 0).mean() < 0.6
    assert level[level > 0].mean() == pytest.approx(0.1, rel=0.15)


def test_noise_comes_from_the_first_half_of_its_record(patients: Path, tiny_config: TrainingConfig) -> None:
    assert tiny_config.noise is not None
    noise = read_noise(tiny_config.noise, patients)
    assert noise.shape[1] <= 65 * 128


# -- sampling


def test_an_epoch_draws_rare_classes_more_often_and_has_a_fixed_length(examples: Examples) -> None:
    draw = Draw(normal=50, s=10_000, v=10, repeat=2.0, rhythm=7, other=0)
    lengths, share = set(), []
    for seed in range(3):
        index = epoch_indices(examples, draw, np.random.default_rng(seed))
        lengths.add(len(index))
        share.append((examples.labels["beat"][index] == 1).sum())
    s = int((examples.labels["beat"] == 1).sum())
    assert lengths == {50 + 2 * s + 10 + 7}
    assert min(share) >= 2 * s


def test_artefacts_are_drawn_like_a_rare_class(examples: Examples) -> None:
    artefact = BEAT_ANSWERS.index("?")
    labels = examples.labels["beat"].copy()
    labels[:6] = artefact
    with_artefacts = examples.with_labels(beat=labels)
    for artefacts, drawn in ((4, 4), (1500, 12), (0, 0)):  # at most `repeat` times the six
        draw = Draw(normal=9, s=0, v=0, f=0, artefact=artefacts, repeat=2.0, rhythm=0, other=0)
        index = epoch_indices(with_artefacts, draw, np.random.default_rng(0))
        assert ((labels[index] == artefact).sum(), len(index)) == (drawn, 9 + drawn)


def test_long_records_are_sampled_in_proportion_to_the_square_root_of_their_beats(examples: Examples) -> None:
    counts = np.where(examples.record == 0, 0, 1)
    uneven = examples.take(np.flatnonzero((counts == 1) | (np.arange(len(examples)) % 10 == 0)).astype(np.int64))
    few = int((uneven.record == 0).sum())
    drawn = epoch_indices(uneven, Draw(normal=30, s=0, v=0, rhythm=0), np.random.default_rng(0))
    many_seeds = [
        (
            uneven.record[epoch_indices(uneven, Draw(normal=30, s=0, v=0, rhythm=0), np.random.default_rng(i))] == 0
        ).mean()
        for i in range(60)
    ]
    assert len(drawn) == 30
    assert np.mean(many_seeds) > 1.5 * few / len(uneven)


def test_examples_without_any_label_are_refused(examples: Examples) -> None:
    index = np.flatnonzero((examples.labels["beat"] == -1) & (examples.labels["rhythm"] == -1)).astype(np.int64)
    empty = examples.take(index[:0])
    with pytest.raises(UsageError, match="label"):
        epoch_indices(empty, Draw(), np.random.default_rng(0))

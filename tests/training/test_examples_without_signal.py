"""Annotations without a signal teach the rhythm from RR intervals, and nothing else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import wfdb

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.streaming.patient.rr_history import RRHistory
from ecgmoe_edge.tasks import RHYTHM_CLASSES, TASK_NAMES
from ecgmoe_edge.training.augment import Augmenter
from ecgmoe_edge.training.cache import build_examples
from ecgmoe_edge.training.config import Augment, DataSet, TrainingConfig
from ecgmoe_edge.training.examples import UNKNOWN, Examples, is_known, join
from ecgmoe_edge.training.examples_without_signal import examples_without_signal
from ecgmoe_edge.training.run import train
from ecgmoe_edge.training.sources import Source

N, AF = RHYTHM_CLASSES.index("N"), RHYTHM_CLASSES.index("AF")
LONG = DataSet("long", "long", labels="rhythm-annotations", beats_per_record=60, first_s=20.0)
FS = 128.0


def write_long(folder: Path, name: str, rhythms: list[tuple[str, int]], seed: int = 1) -> None:
    """Header and annotations of a record; `rhythms` are labels with their numbers of beats."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    samples: list[int] = []
    symbols: list[str] = []
    notes: list[str] = []
    at = 0.0
    for label, beats in rhythms:
        samples.append(round((at + 0.1) * FS))
        symbols.append("+")
        notes.append(f"({label}")
        for _ in range(beats):
            at += rng.gamma(20.0, 0.7 / 20.0) if label == "AFIB" else 0.9 + rng.normal(0.0, 0.02)
            samples.append(round(at * FS))
            symbols.append("N")
            notes.append("")
    wfdb.wrann(name, "atr", np.array(samples), symbols, aux_note=notes, write_dir=str(folder))
    (folder / f"{name}.hea").write_text(f"{name} 1 128 {samples[-1] + 100}\n{name}.dat 16 200/mV 16 0 0 0 0 ECG\n")


def source(folder: Path, name: str, data: DataSet = LONG) -> Source:
    return Source(data, folder / name, name)


def test_only_the_rhythms_n_and_af_are_learnt(tmp_path: Path) -> None:
    write_long(tmp_path, "day", [("N", 200), ("SVTA", 40), ("AFIB", 200)])
    examples = examples_without_signal(source(tmp_path, "day", replace_beats(0)))
    counts = {label: int((examples.labels["rhythm"] == label).sum()) for label in (N, AF, UNKNOWN)}
    assert counts[N] > 150
    assert counts[AF] > 150
    assert counts[UNKNOWN] > 40
    assert set(np.unique(examples.labels["rhythm"])) == {N, AF, UNKNOWN}
    for task in TASK_NAMES:
        assert task == "rhythm" or not is_known(examples.labels[task]).any()


def replace_beats(kept: int) -> DataSet:
    return msgspec.structs.replace(LONG, beats_per_record=kept)


def test_the_rr_features_are_those_of_the_live_stream_though_few_beats_are_kept(tmp_path: Path) -> None:
    write_long(tmp_path, "day", [("N", 100), ("AFIB", 400)])
    examples = examples_without_signal(source(tmp_path, "day"))
    assert len(examples) == 60
    beats = wfdb.rdann(str(tmp_path / "day"), "atr")
    times = np.array([s for s, symbol in zip(beats.sample, beats.symbol, strict=True) if symbol == "N"]) / FS
    history = RRHistory()
    by_time = {}
    for at, rr in zip(times, [None, *np.diff(times)], strict=True):
        by_time[round(at * FS)] = history.add(None if rr is None else float(rr))
    for row, sample in enumerate(examples.sample.tolist()):
        features, sequence = by_time[sample]
        np.testing.assert_allclose(examples.rr_features[row], features, atol=1e-6)
        np.testing.assert_allclose(examples.rr_sequence[row], sequence, atol=1e-6)


def both_rhythms(tmp_path: Path, examples: Examples) -> Examples:
    """Examples with a waveform, half of them labelled AF, and examples of a record without a signal."""
    write_long(tmp_path, "day", [("N", 200), ("AFIB", 200)])
    labelled = np.where(np.arange(len(examples)) % 2 == 0, N, AF).astype(np.int8)
    return join([examples.with_labels(rhythm=labelled), examples_without_signal(source(tmp_path, "day"))])


def test_in_a_batch_they_get_the_waveform_of_a_beat_with_the_same_rhythm(tmp_path: Path, examples: Examples) -> None:
    everything = both_rhythms(tmp_path, examples)
    without = np.flatnonzero((everything.amplitude == 0) & (everything.labels["rhythm"] != UNKNOWN))
    assert len(without) > 40
    unchanged = Augment(jitter_ms=0, stretch=0, gain=0, feature_noise=0, noise_share=0, flip_share=0, memory_share=0)
    batch = Augmenter(unchanged).batch(everything, without, np.random.default_rng(1))
    all_with = np.flatnonzero(everything.amplitude > 0)
    waveforms = Augmenter(unchanged).batch(everything, all_with, np.random.default_rng(1)).beat.numpy()
    for row, beat in enumerate(batch.beat.numpy()):
        same = np.flatnonzero((waveforms == beat).all(axis=(1, 2)))
        assert len(same), "the waveform is that of an example"
        assert everything.labels["rhythm"][without[row]] in everything.labels["rhythm"][all_with[same]]
    np.testing.assert_array_equal(batch.rr_sequence.numpy(), everything.rr_sequence[without])


def test_batches_of_examples_with_waveforms_are_the_same_as_before(tmp_path: Path, examples: Examples) -> None:
    everything = both_rhythms(tmp_path, examples)
    index = np.arange(20)
    alone = Augmenter(Augment()).batch(examples, index, np.random.default_rng(4))
    beside = Augmenter(Augment()).batch(everything, index, np.random.default_rng(4))
    assert bool((alone.beat == beside.beat).all())
    assert bool((alone.features == beside.features).all())


def test_a_rhythm_that_no_signal_has_is_refused(tmp_path: Path, examples: Examples) -> None:
    write_long(tmp_path, "day", [("AFIB", 400)])
    everything = join([examples, examples_without_signal(source(tmp_path, "day"))])
    with pytest.raises(UsageError, match="The rhythm AF has annotations without signals but no beat with one"):
        Augmenter(Augment()).batch(everything, np.array([len(everything) - 1]), np.random.default_rng(1))


@pytest.mark.parametrize(
    "change", [{"validation": ("day",)}, {"validation_share": 0.5}, {"leads": (1,)}, {"rates": (250.0,)}]
)
def test_keys_that_need_a_signal_are_refused(
    tmp_path: Path, tiny_config: TrainingConfig, change: dict[str, object]
) -> None:
    write_long(tmp_path / "long", "day", [("N", 200)])
    config = msgspec.structs.replace(tiny_config, data=(msgspec.structs.replace(LONG, **change),))
    with pytest.raises(UsageError, match="has annotations without signals: omit"):
        build_examples(config, tmp_path, tmp_path / "cache")


def test_a_teacher_is_trained_with_them_beside_records_with_signals(
    tmp_path: Path, patients: Path, tiny_config: TrainingConfig
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("ward", "noise"):
        (data / name).symlink_to(patients / name)
    write_long(data / "long", "day", [("N", 200)])
    (data / "long" / "broken.hea").write_text("broken 1 128 1000\n")
    (data / "long" / "broken.atr").write_bytes(b"\x01")
    config = msgspec.structs.replace(tiny_config, data=(*tiny_config.data, LONG))
    config = msgspec.structs.replace(config, fit=msgspec.structs.replace(tiny_config.fit, epochs=1))
    sets = build_examples(config, data, tmp_path / "cache")
    assert "long/day" in sets.fit.records
    assert list(sets.left_out) == ["long/broken"]
    assert train(config, data, tmp_path / "run", cache=tmp_path / "cache").is_file()

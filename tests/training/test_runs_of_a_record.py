"""Runs of a record: each lead, and its inverted and resampled copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgmoe_edge.training.cache import build_examples, cache_path
from ecgmoe_edge.training.config import DataSet, Draw, TrainingConfig
from ecgmoe_edge.training.examples import Examples, examples_of
from ecgmoe_edge.training.sampling import epoch_indices
from ecgmoe_edge.training.sources import Source, divide


@pytest.fixture(scope="module")
def clinic(patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with `two/`: records with lead II and a second lead, which is smaller and inverted."""
    folder = tmp_path_factory.mktemp("clinic")
    (folder / "two").mkdir()
    for name in ("p0", "p1", "p2", "p3"):
        record = wfdb.rdrecord(str(patients / "ward" / name))
        signal = np.concatenate([record.p_signal, -0.5 * record.p_signal], axis=1)
        wfdb.wrsamp(
            name, record.fs, ["mV"] * 2, ["II", "V1"], signal, fmt=["16"] * 2, adc_gain=[2000.0] * 2, baseline=[0] * 2,
            comments=record.comments, write_dir=str(folder / "two"),
        )  # fmt: skip
        truth = (patients / "ward" / f"{name}.atr").read_bytes()
        (folder / "two" / f"{name}.atr").write_bytes(truth)
    return folder


def _data(**settings: object) -> DataSet:
    return DataSet("two", "two", rhythm=True, validation=("p3",), **settings)  # type: ignore[arg-type]


def _names(sources: tuple[Source, ...]) -> list[str]:
    return [source.name for source in sources]


def test_each_lead_is_a_run_and_validation_uses_only_the_first(clinic: Path) -> None:
    division = divide(_data(leads=("II", 1), invert_share=1.0, rates=(100.0,), rate_share=1.0), clinic)
    assert _names(division.validation) == ["two/p3"]
    of_p0 = ["two/p0", "two/p0:inverted", "two/p0:fs=100", "two/p0:lead=1", "two/p0:lead=1,inverted"]
    assert _names(division.fit)[:6] == [*of_p0, "two/p0:lead=1,fs=100"]
    assert len(division.fit) == 18


def test_the_copies_of_a_run_are_selected_only_by_names(clinic: Path) -> None:
    names = {name for share in (0.3, 0.6) for name in _names(divide(_data(invert_share=share), clinic).fit)}
    some = _names(divide(_data(invert_share=0.6), clinic).fit)
    assert names == set(some)  # a larger fraction includes the runs of a smaller one
    assert _names(divide(_data(invert_share=0.6, leave_out=("p1",)), clinic).fit) == [n for n in some if "p1" not in n]
    assert len(divide(_data(), clinic).fit) == 3


def test_inverting_an_inverted_lead_restores_the_original(clinic: Path) -> None:
    sources = {source.name: source for source in divide(_data(leads=(0, 1), invert_share=1.0), clinic).fit}
    upright, second = examples_of(sources["two/p0"]), examples_of(sources["two/p0:lead=1,inverted"])
    np.testing.assert_array_equal(upright.sample, second.sample)
    np.testing.assert_allclose(second.window, 0.5 * upright.window, atol=2e-3)


@pytest.mark.parametrize("rate", [100.0, 128.0, 500.0])
def test_a_resampled_run_has_the_same_beats_labels_and_shapes(clinic: Path, rate: float) -> None:
    sources = {source.name: source for source in divide(_data(rates=(rate,), rate_share=1.0), clinic).fit}
    native, other = examples_of(sources["two/p0"]), examples_of(sources[f"two/p0:fs={rate:g}"])
    assert len(other) == pytest.approx(len(native), abs=2)
    nearest = np.abs(other.sample[:, None] - native.sample[None]).argmin(axis=1)
    near = np.abs(other.sample - native.sample[nearest]) <= 0.02 * 250.0
    assert near.mean() > 0.97
    assert (other.labels["beat"] == native.labels["beat"][nearest])[near].all()
    difference = (other.window - native.window[nearest])[near]
    assert np.sqrt(np.mean(difference**2)) < 0.12 * np.sqrt(np.mean(native.window**2)) + 250.0 / rate * 0.02


def test_runs_are_cached_side_by_side_and_read_back_with_their_names(clinic: Path, tmp_path: Path) -> None:
    config = TrainingConfig(data=(_data(leads=(0, 1), invert_share=1.0),))
    sets = build_examples(config, clinic, tmp_path)
    again = build_examples(config, clinic, tmp_path)
    assert sets.fit.records == again.fit.records
    assert len(list(tmp_path.glob("*.npz"))) == len(sets.fit.records) + 1
    np.testing.assert_array_equal(sets.fit.window, again.fit.window)
    division = divide(config.data[0], clinic)
    assert len({cache_path(source, tmp_path) for source in division.fit}) == len(division.fit)


def test_copies_of_a_run_do_not_give_a_patient_the_weight_of_more_records(examples: Examples) -> None:
    """Three of four records have one run and p0 has three: the fraction of its normal beats hardly changes."""
    normal = np.flatnonzero(examples.labels["beat"] == 0)
    own = normal[examples.record[normal] == 0]
    index = np.concatenate([normal, own, own])
    record = np.concatenate([examples.record[normal], np.full(len(own), 4), np.full(len(own), 5)]).astype(np.int32)
    taken = examples.take(index)
    names = (*examples.records, f"{examples.records[0]}:inverted", f"{examples.records[0]}:fs=100")
    more = Examples(**{**vars(taken), "record": record, "records": names})
    draw = Draw(normal=20, s=0, v=0, f=0, rhythm=0, other=0)
    shares = []
    for each in (examples, more):
        drawn = [epoch_indices(each, draw, np.random.default_rng(seed)) for seed in range(60)]
        patient = np.isin(each.record[np.concatenate(drawn)], (0, 4, 5))
        shares.append(patient.mean())
    # With the weight 1 / sqrt(count), three times as many beats count sqrt(3) times, as in a longer record.
    assert shares[1] < 2.0 * shares[0]

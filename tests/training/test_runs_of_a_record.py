"""The runs of a record through the front end that training learns from: leads together, and added noise."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import wfdb
from drawn_records import FS, write_patient
from msgspec.structs import replace

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.signal.windows import WIDE_GRID
from ecgmoe_edge.tasks import ARTEFACT, BEAT_ANSWERS
from ecgmoe_edge.training import config as config_module
from ecgmoe_edge.training.cache import build_examples
from ecgmoe_edge.training.config import DataSet, TrainingConfig, load_config
from ecgmoe_edge.training.examples import NOT_AF, UNKNOWN, Examples, examples_of
from ecgmoe_edge.training.sources import Source, divide

_SECONDS = 370.0  # five minutes without noise, then some with it


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one record of two leads, and bursts of noise like QRS complexes."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "ward").mkdir()
    (folder / "noise").mkdir()
    write_patient(folder / "ward", "p0", 0, _SECONDS, (1.0, 0.7))
    rng = np.random.default_rng(3)
    bursts = 0.02 * rng.standard_normal(round(400 * FS))
    for at in range(round(FS), len(bursts) // 2 - 50, round(1.7 * FS)):
        bursts[at : at + 12] += np.hanning(12) * rng.choice([-1.0, 1.0])
    wfdb.wrsamp(
        "em", FS, ["mV"], ["noise"], bursts[:, None], fmt=["16"], adc_gain=[2000.0], baseline=[0],
        write_dir=str(folder / "noise"),
    )  # fmt: skip
    return folder


def _data(**settings: object) -> DataSet:
    return DataSet("ward", "ward", rhythm=True, **settings)  # type: ignore[arg-type]


def _runs(ward: Path, **settings: object) -> dict[str, Source]:
    return {source.name: source for source in divide(_data(**settings), ward).fit}


def _labels(examples: Examples) -> Counter[int]:
    return Counter(examples.labels["beat"].tolist())


@pytest.fixture(scope="module")
def clean(ward: Path) -> Examples:
    """The examples of the record without added noise."""
    return examples_of(_runs(ward)["ward/p0"])


def test_peaks_of_added_noise_are_artefacts_and_only_where_noise_is_added(ward: Path, clean: Examples) -> None:
    artefact = BEAT_ANSWERS.index(ARTEFACT)
    runs = _runs(ward, noise=("noise/em",), noise_share=1.0, snr_db=(0.0,))
    assert list(runs) == ["ward/p0", "ward/p0:em 0 dB"]
    noisy = examples_of(runs["ward/p0:em 0 dB"])
    assert artefact not in _labels(clean)
    made = noisy.sample[noisy.labels["beat"] == artefact]
    assert len(made) >= 10
    assert made.min() >= 300 * FS
    beats = wfdb.rdann(str(ward / "ward" / "p0"), "atr").sample
    assert min(np.abs(beats - peak).min() for peak in made) > 0.15 * FS
    # The beats between them keep their classes.
    assert sum(_labels(noisy)[label] for label in (0, 1, 2)) > 0.8 * sum(_labels(clean)[label] for label in (0, 1, 2))


def test_only_the_first_half_of_a_noise_record_is_added(ward: Path, clean: Examples) -> None:
    still = wfdb.rdrecord(str(ward / "noise" / "em")).p_signal[:, 0]
    half = len(still) // 2
    still[:half] = 0.02 * np.random.default_rng(1).standard_normal(half)
    still[half:] = 3.0 * np.random.default_rng(2).standard_normal(len(still) - half)
    wfdb.wrsamp(
        "quiet", FS, ["mV"], ["noise"], still[:, None], fmt=["16"], adc_gain=[2000.0], baseline=[0],
        write_dir=str(ward / "noise"),
    )  # fmt: skip
    (_, run) = _runs(ward, noise=("noise/quiet",), noise_share=1.0, snr_db=(-12.0,)).values()
    noisy = examples_of(run)
    assert BEAT_ANSWERS.index(ARTEFACT) not in _labels(noisy)  # the second half is loud: it would bury the beats
    assert abs(len(noisy) - len(clean)) < 30


def test_noise_needs_annotated_beats() -> None:
    data = DataSet("x", "x", labels="ptbxl", noise=("noise/em",))
    with pytest.raises(UsageError, match="noise needs annotated beats"):
        config_module._check(TrainingConfig((data,)))


def test_a_further_lead_is_learnt_from_a_pass_with_all_leads(ward: Path) -> None:
    runs = _runs(ward, leads=(0, 1))
    assert {name: run.together for name, run in runs.items()} == {"ward/p0": (), "ward/p0:lead=1": (0, 1)}
    examples = examples_of(runs["ward/p0:lead=1"])
    signal = wfdb.rdrecord(str(ward / "ward" / "p0")).p_signal.T
    front_end = FrontEnd(FS, ("II", "V1"), grid=WIDE_GRID)
    items = [*front_end.push(signal), *front_end.flush()]
    shown = [
        each for item in items if isinstance(item, BeatContext) and item.complete and (each := item.shown_by("V1"))
    ]
    assert len(shown) > 300
    np.testing.assert_array_equal(examples.sample, [beat.sample for beat in shown])
    np.testing.assert_array_equal(examples.window, [beat.window for beat in shown])
    np.testing.assert_array_equal(examples.template, [beat.template for beat in shown])
    np.testing.assert_array_equal(examples.rr_features, [beat.rr_features for beat in shown])


def test_a_lead_that_shows_no_beat_well_beside_another_is_not_reported_as_unusable(ward: Path, tmp_path: Path) -> None:
    (tmp_path / "ward").mkdir()
    write_patient(tmp_path / "ward", "p1", 1, 60.0, (1.0, 0.0))
    write_patient(tmp_path / "ward", "p2", 2, 60.0, (1.0, 1.0))
    sets = build_examples(TrainingConfig((_data(leads=(0, 1)),)), tmp_path, tmp_path / "cache")
    assert not sets.left_out
    assert sets.fit.records == ("ward/p1", "ward/p2", "ward/p2:lead=1")


def test_a_fraction_of_the_beats_without_a_rhythm_note_is_labelled_not_af(patients: Path) -> None:
    def rhythms(**settings: object) -> list[int]:
        data = DataSet("ward", "ward", fit=("p0",), **settings)  # type: ignore[arg-type]
        (source,) = divide(data, patients).fit
        labels: list[int] = examples_of(source).labels["rhythm"].tolist()
        return labels

    noted = rhythms(rhythm=True, without_af=0.1)
    assert noted.count(NOT_AF) < 3  # only the first seconds, before the note applies
    labels = rhythms(without_af=0.1)
    assert set(labels) == {UNKNOWN, NOT_AF}
    assert labels.count(NOT_AF) == pytest.approx(0.1 * len(labels), abs=1)
    assert set(rhythms(without_af=0.1, maybe_af=("p0",))) == {UNKNOWN}


def test_the_extended_configuration_adds_noise_and_leaves_out_the_record_that_is_probably_af() -> None:
    by_name = {data.name: data for data in load_config("extended").data}
    assert by_name["svdb"].noise == by_name["mitdb"].noise == ("nstdb/em", "nstdb/ma")
    assert by_name["svdb"].maybe_af == ("804",)
    assert by_name["svdb"].without_af > 0


def test_the_extended_configuration_is_the_default_one_with_more_data() -> None:
    default, extended = load_config(), load_config("extended")
    usual = {"noise": (), "noise_share": 0.25, "snr_db": (6.0,), "without_af": 0.0, "maybe_af": ()}
    plain = tuple(replace(data, **usual) for data in extended.data if data.name != "ltafdb")
    answer = replace(extended.distil, artefact_answer=default.distil.artefact_answer)
    assert replace(extended, data=plain, distil=answer) == default
    assert extended.distil.artefact_answer

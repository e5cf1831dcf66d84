"""The whole monitor in C against the numpy reference: the same events, whatever happens to the signal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from disturbed_streams import LEADS, events, fake_model, signal
from extension_for_tests import extension_in_use

sys.path.insert(0, str(Path(__file__).parents[3]))

from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Beat, End
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.patient.own_layer import LAYER_CLASSES, LAYER_INPUTS, PatientLayer
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID
from tools import float_day
from tools.compare_engines import differences

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def extension() -> Iterator[None]:
    with extension_in_use():
        yield


@pytest.mark.parametrize("seed", [1, 5, 22, 28, 44])
def test_a_disturbed_stream_gives_the_events_of_the_reference(seed: int) -> None:
    leads, fs = 1 + seed % 3, (360.0, 250.0, 128.0, 500.0, 100.0, 1000.0)[seed % 6]
    model = fake_model(batched=seed % 2 == 0) if seed % 5 else None
    found = events(seed, "c", leads=leads, fs=fs, model=model, seconds=20.0)
    expected = events(seed, "numpy", leads=leads, fs=fs, model=model, seconds=20.0)
    assert sum(isinstance(event, Beat) for event in expected) > 10
    assert list(differences(found, expected)) == []


def test_any_chunks_give_the_same_events() -> None:
    x = signal(3, 2, 250.0, 30.0)
    runs = []
    for chunk in (1, 13, x.shape[1]):
        monitor = Monitor(None, 250.0, LEADS[:2], engine="c")
        parts = [monitor.push(x[:, at : at + chunk]) for at in range(0, x.shape[1], chunk)]
        runs.append([event for part in parts for event in part] + monitor.flush())
    assert len(runs[0]) > 20
    assert list(differences(runs[1], runs[0])) == []
    assert list(differences(runs[2], runs[0])) == []


def test_the_patients_layer_decides_in_c_as_in_the_reference() -> None:
    random = np.random.default_rng(2)
    weights = {lead: random.normal(0.0, 0.5, (LAYER_INPUTS, len(LAYER_CLASSES))) for lead in LEADS[1:]}
    layer = PatientLayer(LEADS, weights, margin_share_s=0.5)
    runs = []
    for engine in ("c", "numpy"):
        monitor = Monitor(fake_model(), 250.0, LEADS, layer=layer, engine=engine)
        x = signal(4, 3, 250.0, 40.0)
        found = monitor.push(x[:, :4000])
        monitor.use_patient_layer(False)
        found += monitor.push(x[:, 4000:7000])
        monitor.use_patient_layer(True)
        runs.append(found + monitor.push(x[:, 7000:]) + monitor.flush())
    assert any(isinstance(event, Beat) and event.shared_label for event in runs[1])
    assert list(differences(*runs)) == []


def test_reset_forgets_stream_and_patient() -> None:
    x = signal(6, 1, 250.0, 20.0)
    monitor = Monitor(fake_model(), 250.0, engine="c")
    first = monitor.push(x) + monitor.flush()
    monitor.reset()
    assert list(differences(monitor.push(x) + monitor.flush(), first)) == []


def test_the_front_end_in_c_gives_the_beats_of_the_reference_with_their_arrays() -> None:
    from ecgmoe_edge.streaming.beats import BeatContext
    from ecgmoe_edge.streaming.c_engine.front_end import CFrontEnd

    x = signal(9, 2, 250.0, 40.0)
    ours, reference = CFrontEnd(250.0, LEADS[:2]), FrontEnd(250.0, LEADS[:2], grid=BEAT_GRID)
    found, expected = [[*each.push(x), *each.lead_off([True, False]), *each.flush()] for each in (ours, reference)]
    assert ours.position == reference.position == x.shape[1]
    assert [type(item) for item in found] == [type(item) for item in expected]
    for item, other in zip(found, expected, strict=True):
        if isinstance(item, BeatContext) and isinstance(other, BeatContext):
            assert (item.sample, item.ready_at, item.lead, item.in_history, len(item.others)) == (
                *(other.sample, other.ready_at, other.lead, other.in_history),
                len(other.others),
            )
            for name in ("window", "template", "rr_features", "rr_sequence"):
                np.testing.assert_allclose(getattr(item, name), getattr(other, name), rtol=0.0, atol=1e-6)
        else:
            assert item == other


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database", "name", "records"),
    [("mitdb", "ds1", "106,119,203,208,223"), ("svdb", "svdb-fit", "802,842,847,869,890")],
)
def test_32_bits_give_the_labels_of_64_bits_in_recordings(
    data_dir: Path, database: str, name: str, records: str
) -> None:
    if not (data_dir / database).is_dir():
        pytest.skip(f"needs {database} in ECGMOE_DATA")
    command = (sys.executable, "-m", "tools.compare_engines", "--float", "--set", name, "--records", records)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_32_bits_do_not_drift_over_a_drawn_day() -> None:
    command = (sys.executable, "-m", "tools.float_day")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_growing_difference_and_other_labels_are_faults() -> None:
    good = float_day.Quarter(beats=25000, input_difference=1e-4, quality_difference=1e-5, other_labels=1)
    drifted = float_day.Quarter(beats=25000, input_difference=5e-4, quality_difference=1e-5, other_labels=60)
    assert float_day.faults([good, good, good, good]) == []
    said = float_day.faults([good, good, good, drifted])
    assert [sentence.partition(" ")[0] for sentence in said] == ["other_labels:", "input_difference"]


def test_the_last_event_names_the_engine() -> None:
    for engine in ("c", "numpy"):
        monitor = Monitor(None, 250.0, engine=engine)
        end = monitor.flush()[-1]
        assert isinstance(end, End)
        assert end.engine == monitor.engine == engine


def test_more_leads_than_the_c_engine_holds_run_in_the_reference_with_a_reason() -> None:
    monitor = Monitor(None, 250.0, [f"lead {k}" for k in range(12)], engine="c")
    assert monitor.engine == "numpy"
    assert monitor.engine_reason == "the C engine holds 3 leads, and this stream has 12"

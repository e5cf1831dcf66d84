from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.annotations import AAMI, RhythmSegment, read_annotations, write_annotations
from ecgmoe_edge.records.databases.mitdb import PACED
from ecgmoe_edge.records.recording import Recording
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.records.wfdb_files.annotation_file import read_annotation_file
from ecgmoe_edge.streaming.events import Beat

wfdb = pytest.importorskip("wfdb", reason="annotations need the records extra")


@pytest.fixture
def record(write_record: Callable[..., Path]) -> Recording:
    return open_recording(write_record("a", np.zeros((1, 5000), dtype=np.int16)))


def _annotate(record: Recording, marks: list[tuple[int, str, str]], fs: float | None = None) -> None:
    samples, symbols, notes = zip(*marks, strict=True)
    wfdb.wrann(
        record.name, "atr", np.array(samples), symbol=list(symbols), aux_note=list(notes), fs=fs,
        write_dir=str(record.path.parent),
    )  # fmt: skip


def _beat(sample: int, label: str | None) -> Beat:
    return Beat(sample, sample / 250, None, label, {}, {}, 1.0, 200.0, 400.0, 0.1)


def test_symbols_map_to_aami_classes() -> None:
    classes = {"N": "NLRBejn", "S": "aAJS", "V": "VEr", "F": "F", "Q": "/fQ?"}
    assert dict(AAMI) == {symbol: name for name, symbols in classes.items() for symbol in symbols}


def test_beats_flutter_and_rhythms_are_distinguished(record: Recording) -> None:
    marks = [
        (10, "+", "(N"), (100, "N", ""), (350, "A", ""), (400, "+", "(VFL"), (410, "[", ""), (500, "!", ""),
        (600, "]", ""), (620, "+", "(AFIB"), (700, "V", ""), (710, "~", ""), (900, "/", ""),
    ]  # fmt: skip
    _annotate(record, marks)
    annotated = read_annotations(record)
    assert annotated.samples.tolist() == [100, 350, 700, 900]
    assert annotated.classes.tolist() == ["N", "S", "V", "Q"]
    assert annotated.flutter == ((410, 600),)
    assert [(segment.label, segment.start, segment.end) for segment in annotated.rhythms] == [
        ("N", 10, 400), ("VFL", 400, 620), ("AFIB", 620, 5000),
    ]  # fmt: skip
    assert annotated.paced


def test_flutter_without_an_end_lasts_to_the_end_of_the_record(record: Recording) -> None:
    _annotate(record, [(100, "N", ""), (300, "[", ""), (400, "!", "")])
    assert read_annotations(record).flutter == ((300, 5000),)


def test_annotations_with_their_own_tick_rate_are_converted_to_samples(record: Recording) -> None:
    _annotate(record, [(500, "N", ""), (1500, "V", "")], fs=500)
    assert read_annotations(record).samples.tolist() == [250, 750]


def test_a_record_without_beats_is_refused_if_beats_are_needed(record: Recording) -> None:
    with pytest.raises(RecordError, match=r"no a\.atr in its folder"):
        read_annotations(record)
    _annotate(record, [(10, "+", "(N")])
    with pytest.raises(RecordError, match="no beat annotation"):
        read_annotations(record)
    assert read_annotations(record, beats_needed=False).rhythms == (RhythmSegment("N", 10, 5000),)
    record.path.with_suffix(".atr").write_bytes(b"")
    with pytest.raises(RecordError, match=r"a\.atr"):
        read_annotations(record)


def test_written_beats_are_read_back_unchanged(tmp_path: Path) -> None:
    labels = ["N", "S", "V", "F", "?", None]
    beats = [_beat(100 + 300 * position, label) for position, label in enumerate(labels)]
    file = write_annotations(tmp_path / "out", "a", reversed(beats), 250.0)
    assert file == tmp_path / "out" / "a.ecgmoe"
    back = wfdb.rdann(str(file.with_suffix("")), "ecgmoe")
    assert back.sample.tolist() == [100, 400, 700, 1000, 1300, 1600]
    assert back.symbol == ["N", "S", "V", "F", "Q", "N"]
    assert back.fs == 250


def test_an_artefact_is_written_as_an_isolated_qrs_like_artifact_and_read_as_no_beat(tmp_path: Path) -> None:
    beats = [_beat(100, "N"), replace(_beat(400, "?"), reason="artefact"), replace(_beat(700, "?"), reason="quality")]
    file = write_annotations(tmp_path, "a", beats, 250.0)
    back = wfdb.rdann(str(file.with_suffix("")), "ecgmoe")
    assert (back.sample.tolist(), back.symbol) == ([100, 400, 700], ["N", "|", "Q"])
    alone = write_annotations(tmp_path, "b", beats[1:2], 250.0)
    assert wfdb.rdann(str(alone.with_suffix("")), "ecgmoe").symbol == ["|"]


def test_no_beats_write_an_annotation_file_without_annotations(tmp_path: Path) -> None:
    file = write_annotations(tmp_path, "a", [], 250.0)
    assert len(wfdb.rdann(str(file.with_suffix("")), "ecgmoe").sample) == 0


@pytest.mark.slow
@pytest.mark.parametrize("cut", [2, 3, 40])
def test_a_truncated_annotation_file_is_refused(record: Recording, cut: int) -> None:
    _annotate(record, [(100 * k, "N", "") for k in range(1, 40)])
    file = record.path.with_name("a.atr")
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(RecordError, match=r"a\.atr is (truncated|not a WFDB annotation file)"):
        read_annotations(record)


def test_a_failed_write_keeps_the_old_annotation_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_annotations(tmp_path, "a", [_beat(100, "N")], 250.0)
    before = file.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RecordError, match=r"No space left on device.*Free some disk space"):
        write_annotations(tmp_path, "a", [_beat(100, "N"), _beat(300, "V")], 250.0)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.ecgmoe"]


def test_mitdb_has_the_published_number_of_beats(mitdb: Path) -> None:
    classes: Counter[str] = Counter()
    paced = []
    for header in sorted(mitdb.glob("*.hea")):
        annotated = read_annotations(open_recording(header))
        classes.update(annotated.classes.tolist())
        if annotated.paced:
            paced.append(header.stem)
    assert sum(classes.values()) == 109_494
    assert classes == {"N": 90_631, "S": 2_781, "V": 7_236, "F": 803, "Q": 8_043}
    assert tuple(paced) == PACED


@pytest.mark.parametrize("name", ["patient.7", "patient 7"])
def test_annotations_of_a_record_with_any_name_can_be_written(tmp_path: Path, name: str) -> None:
    beats = [Beat(250, 1.0, None, "V", {}, {}, 1.0, 0.0, 0.0, 0.0)]
    file = write_annotations(tmp_path, name, beats, 250.0)
    assert file == tmp_path / f"{name}.ecgmoe"
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert read_annotation_file(file).ticks.tolist()[-1] == 250

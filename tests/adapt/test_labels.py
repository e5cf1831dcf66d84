"""Labels from tables and annotation files, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_patient import FS, DrawnPatient

from ecgmoe_edge.adapt.labels import read_labels
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import Recording
from ecgmoe_edge.records.registry import open_recording


@pytest.fixture
def record(write_patient: Callable[..., Path], drawn: DrawnPatient) -> Recording:
    return open_recording(write_patient("anna", drawn))


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "labels.csv"
    file.write_bytes(text.encode(encoding))
    return file


def test_an_annotation_file_gives_its_beats_with_their_aami_classes(
    record: Recording, drawn: DrawnPatient, tmp_path: Path
) -> None:
    labels = read_labels(record.path.with_suffix(".atr"), record)
    assert labels.samples.tolist() == drawn.r_peaks.tolist()
    assert "".join(labels.classes) == drawn.classes
    assert labels.centres is None
    copied = tmp_path / "of.anna.mine"
    copied.write_bytes(record.path.with_suffix(".atr").read_bytes())
    assert read_labels(copied, record).samples.tolist() == drawn.r_peaks.tolist()


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("time_s,label\n2.0,V\n1,N\n\n3.5,\n", "utf-8"),
        ("sample,label\n500,V\n250,N\n", "utf-8-sig"),
        ("Time_s; Label ;comment\n2,0;V;für Anna\n1,0;N;\n", "latin-1"),
        ("label\ttime_s\tsample\r\nE\t2.004\t500\r\ne\t1.0\t250\r\n", "utf-8"),
    ],
)
def test_a_table_may_come_from_any_program(record: Recording, tmp_path: Path, text: str, encoding: str) -> None:
    labels = read_labels(table(tmp_path, text, encoding), record)
    assert labels.samples.tolist() == [250, 500]
    assert labels.classes == ("N", "V")
    assert labels.centres is None


def test_a_table_of_chosen_beats_names_the_centres_of_clusters_even_without_a_label(
    record: Recording, tmp_path: Path
) -> None:
    rows = "1.0,250,N,cluster\n2.0,500,,cluster\n3.0,750,V,uncertain\n4.0,1000,,uncertain\n"
    labels = read_labels(table(tmp_path, f"time_s,sample,label,chosen_as\n{rows}"), record)
    assert (labels.samples.tolist(), labels.classes) == ([250, 750], ("N", "V"))
    assert labels.centres is not None
    assert labels.centres.tolist() == [250, 500]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,class\n1,N\n", "first row must name the columns label and time_s"),
        ("1.0,N\n", "first row must name"),
        ("time_s,label,label\n1,N,N\n", "two columns 'label'"),
        ("time_s,label\n1,N\n2,X\n", "row 3: 'X' is no label"),
        ("time_s,label\n1,f\n", "row 2: the label 'f' has two meanings"),
        ("time_s,label\n1,v\n", "row 2: 'v' is no label"),
        ("time_s,label\n0:01:02,N\n", "row 2: time_s is '0:01:02': write seconds"),
        ("time_s,label\n1e999,N\n", "row 2: time_s is '1e999'"),
        ("time_s,label\nnan,N\n", "row 2: time_s is 'nan'"),
        ("sample,label\n12.5,N\n", "row 2: sample is '12.5': write a sample"),
        ("time_s,sample,label\n1.0,500,N\n", "row 2: time_s and sample are different times at 250 Hz"),
        ("time_s,label\n,N\n", "row 2: it has no time"),
        ("time_s,label\n900,N\n", "row 2: the beat at 900 s lies outside the recording, which is 120 s long"),
        ("time_s,label\n-3,N\n", "row 2: the beat at -3 s lies outside"),
        ("time_s,label\n1,N,S\n", "row 2: it has 3 cells, and the first row has 2"),
        ("time_s,label\n1,N\n1,V\n", "row 3: this beat is V, and in row 2 it is N"),
        ("time_s,label\n1,\n", "has no label"),
        ("time_s,label\n", "has no label"),
    ],
)
def test_a_bad_table_is_refused_with_its_row(record: Recording, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecordError, match=r"labels\.csv") as refused:
        read_labels(table(tmp_path, text), record)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_same_beat_twice_with_one_label_counts_once(record: Recording, tmp_path: Path) -> None:
    labels = read_labels(table(tmp_path, "time_s,label\n1,N\n1,N\n"), record)
    assert labels.samples.tolist() == [250]


def test_an_annotation_file_without_an_extension_is_refused(record: Recording, tmp_path: Path) -> None:
    copied = tmp_path / "annotations"
    copied.write_bytes(record.path.with_suffix(".atr").read_bytes())
    with pytest.raises(RecordError, match="has no extension"):
        read_labels(copied, record)


def test_labels_before_a_time_are_a_part_of_the_labels(record: Recording) -> None:
    labels = read_labels(record.path.with_suffix(".atr"), record)
    half = labels.before(60 * FS)
    assert half.samples.tolist() == labels.samples[labels.samples < 60 * FS].tolist()
    assert half.classes == labels.classes[: len(half.samples)]
    assert np.array_equal(labels.before(1e9).samples, labels.samples)

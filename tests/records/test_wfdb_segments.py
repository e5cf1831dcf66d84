"""Records of several segments with a fixed or changing layout and missing time between segments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.formats.wfdb_record import WfdbRecord, open_record

LAYOUT = "~ 0 200/mV 16 0 0 0 0 II\n~ 0 200/mV 16 0 0 0 0 V\n~ 0 1/mmHg 16 0 0 0 0 ABP\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Segments: s1 has II and V, s2 has ABP and V with another gain and unit."""
    rng = np.random.default_rng(3)
    for name, n, lines in (
        ("s1", 300, ["200/mV 16 0 0 0 0 II", "100/mV 16 0 0 0 0 V"]),
        ("s2", 200, ["1/mmHg 16 0 0 0 0 ABP", "0.4(7)/uV 16 0 0 0 0 V"]),
    ):
        (tmp_path / f"{name}.dat").write_bytes(rng.integers(-200, 200, size=(n, 2)).astype("<i2").tobytes())
        text = f"{name} 2 250 {n}\n" + "".join(f"{name}.dat 16 {line}\n" for line in lines)
        (tmp_path / f"{name}.hea").write_text(text)
    (tmp_path / "layout.hea").write_text("layout 3 250 0\n" + LAYOUT)
    return tmp_path


def _counts(folder: Path, name: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.fromfile(folder / f"{name}.dat", "<i2").reshape(-1, 2).T.astype(np.float64)


def _open(folder: Path, text: str, **options: str) -> WfdbRecord:
    (folder / "all.hea").write_text(text)
    return open_record(folder / "all", **options)  # type: ignore[arg-type]


CHANGING = "all/5 3 250 620\nlayout 0\n~ 50\ns1 300\n~ 70\ns2 200\n# <age>: 60 <sex>: F\n"


def test_signals_of_a_changing_layout_are_matched_by_name_and_missing_time_is_nan(folder: Path) -> None:
    record = _open(folder, CHANGING)
    assert (record.leads, record.units, record.fs) == (("II", "V", "ABP"), ("mV", "mV", "mmHg"), 250.0)
    assert (record.n_samples, record.age, record.sex, record.remarks) == (620, 60, "F", ())
    first, second = _counts(folder, "s1"), _counts(folder, "s2")
    expected = np.full((2, 620), np.nan)
    expected[:, 50:350] = first / [[200.0], [100.0]]
    expected[1, 420:] = (second[1] - 7) / 0.4 * 1e-3
    read = record.read(leads=["II", "V"])
    np.testing.assert_allclose(read, expected, rtol=1e-12)
    for seconds in (0.004, 0.1, 0.2, 1.0):
        np.testing.assert_array_equal(np.concatenate(list(record.blocks(seconds, ["II", "V"])), axis=1), read)
    np.testing.assert_array_equal(record.read(349, 421, ["V", "II"]), read[::-1, 349:421])


def test_a_record_of_only_missing_time_has_the_leads_of_its_layout(folder: Path) -> None:
    record = _open(folder, "all/2 3 250 7500\nlayout 0\n~ 7500\n")
    assert (record.leads, record.n_samples) == (("II", "V", "ABP"), 7500)
    assert np.isnan(record.read(leads=["V"])).all()


def test_the_length_is_the_sum_of_the_segments_and_another_stated_length_gets_a_remark(folder: Path) -> None:
    record = _open(folder, CHANGING.replace(" 620", " 600"))
    assert (record.n_samples, [remark.kind for remark in record.remarks]) == (620, ["length"])
    assert _open(folder, CHANGING.replace(" 620", "")).remarks == ()


def test_a_signal_missing_in_the_layout_gets_a_remark(folder: Path) -> None:
    (folder / "layout.hea").write_text("layout 2 250 0\n" + "".join(LAYOUT.splitlines(keepends=True)[:2]))
    record = _open(folder, CHANGING.replace("all/5 3", "all/5 2"))
    assert [(remark.kind, "ABP" in remark.text) for remark in record.remarks] == [("lead", True)]


def test_a_truncated_or_missing_segment_is_refused_or_missing_time_on_request(folder: Path) -> None:
    whole = _open(folder, CHANGING).read(leads=["V"])[0]
    (folder / "s1.dat").write_bytes((folder / "s1.dat").read_bytes()[:400])
    with pytest.raises(RecordError, match=r"all, segment s1, is truncated: 100 of the 300 samples per lead"):
        _open(folder, CHANGING)
    record = _open(folder, CHANGING, truncated="read")
    expected = whole.copy()
    expected[150:350] = np.nan
    np.testing.assert_array_equal(record.read(leads=["V"])[0], expected)
    assert [remark.kind for remark in record.remarks] == ["length"]
    assert "0.8 s" in record.remarks[0].text
    (folder / "s1.dat").unlink()
    with pytest.raises(RecordError, match=r"s1\.hea names the signal file s1\.dat"):
        _open(folder, CHANGING)
    expected[50:350] = np.nan
    np.testing.assert_array_equal(_open(folder, CHANGING, truncated="read").read(leads=["V"])[0], expected)
    (folder / "s1.hea").unlink()
    np.testing.assert_array_equal(_open(folder, CHANGING, truncated="read").read(leads=["V"])[0], expected)
    with pytest.raises(RecordError, match=r"all\.hea names the segment 's1', but there is no .*s1\.hea"):
        _open(folder, CHANGING)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text.replace("layout 0\n", "").replace("/5 3", "/4 2"),
            "no layout, and its segment 's2' has other",
        ),
        (lambda text: text.replace("all/5 3", "all/5 2"), "states 2 signals, but its segments have 3"),
        (lambda text: text.replace("250", "360"), "states 360 Hz, but its segment layout 250 Hz"),
        (lambda text: text.replace("s2 200", "all 200"), "names the segment all, which consists of segments"),
        (lambda text: text.replace("s2 200", "../s2 200"), "names the file '../s2'"),
        (lambda text: text.replace("s2 200", "s2 two"), "'s2 two'; expected are the name and length of a segment"),
        (lambda text: text.replace("s2 200\n", ""), "states 5 segments but describes 4"),
        (lambda text: text.replace("s2 200", "s2 -200"), "'s2 -200'; expected"),
        (lambda text: text.replace("~ 70", f"~ {10**15}"), "more than 20 years"),
        (lambda text: "all/2 3 250\n~ 10\n~ 10\n", "describes no signal"),
    ],
)
def test_segments_that_contradict_their_record_are_refused(
    folder: Path, change: Callable[[str], str], message: str
) -> None:
    with pytest.raises(RecordError, match=message):
        _open(folder, change(CHANGING))


def test_the_layout_itself_is_refused(folder: Path) -> None:
    with pytest.raises(RecordError, match=r"layout\.hea is the layout of a record of several segments"):
        open_record(folder / "layout")


def test_segments_may_share_one_file(tmp_path: Path) -> None:
    ramp = np.arange(600, dtype=np.int16)
    (tmp_path / "x.dat").write_bytes(ramp.astype("<i2").tobytes())
    for name, offset in (("p", 0), ("q", 2 * 250)):
        (tmp_path / f"{name}.hea").write_text(f"{name} 1 250 250\nx.dat 16+{offset} 200/mV 16 0 0 0 0 I\n")
    record = _open(tmp_path, "all/2 1 250 500\np 250\nq 250\n")
    np.testing.assert_array_equal(record.read()[0], ramp[:500] / 200.0)
    assert record.remarks == ()

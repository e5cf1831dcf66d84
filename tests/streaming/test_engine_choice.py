"""Which engine runs: by argument, by variable, or the C engine if it is built."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.live.summary import render_summary
from ecgmoe_edge.streaming import Monitor, c_engine
from ecgmoe_edge.streaming.engines import NOT_BUILT, EngineChoice, choose_engine, engine_line
from ecgmoe_edge.streaming.events import End, to_json


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECGMOE_ENGINE", raising=False)
    monkeypatch.setitem(sys.modules, c_engine.NAME, SimpleNamespace(MOST_LEADS=3, HIGHEST_RATE_HZ=1000))


@pytest.fixture
def not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECGMOE_ENGINE", raising=False)
    monkeypatch.setitem(sys.modules, c_engine.NAME, None)


@pytest.mark.usefixtures("built")
def test_the_c_engine_runs_if_it_is_built_and_nothing_else_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_engine(None, leads=1, fs=250.0, context=False) == EngineChoice("c")
    assert choose_engine("numpy", leads=1, fs=250.0, context=False) == EngineChoice("numpy")
    assert engine_line() == "Engine: c, for up to 3 leads and 1000 Hz; numpy beyond that."
    monkeypatch.setenv("ECGMOE_ENGINE", "numpy")
    assert choose_engine(None, leads=1, fs=250.0, context=False) == EngineChoice("numpy")
    assert choose_engine("c", leads=1, fs=250.0, context=False) == EngineChoice("c")
    assert engine_line() == "Engine: numpy; ECGMOE_ENGINE=numpy chose it."


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("wanted", [None, "c"])
@pytest.mark.parametrize(("leads", "context", "why"), [(4, False, "3 leads"), (1, True, "10 s")])
def test_what_the_c_engine_has_no_room_for_runs_in_the_reference(
    wanted: str | None, leads: int, context: bool, why: str
) -> None:
    choice = choose_engine(wanted, leads=leads, fs=250.0, context=context)
    assert choice.name == "numpy"
    assert why in str(choice.reason)


@pytest.mark.usefixtures("built")
def test_the_last_event_and_the_summary_say_why_the_reference_runs() -> None:
    end = Monitor(None, 250.0, [f"lead {k}" for k in range(12)]).flush()[-1]
    assert isinstance(end, End)
    why = "the C engine holds 3 leads, and this stream has 12"
    assert (end.engine, end.engine_reason) == ("numpy", why)
    assert to_json(end)["engine_reason"] == why
    assert f"numpy; {why}" in render_summary(end)


@pytest.mark.usefixtures("not_built")
def test_without_the_extension_the_reference_runs_and_the_c_engine_is_refused() -> None:
    monitor = Monitor(None, 250.0)
    assert (monitor.engine, monitor.engine_reason) == ("numpy", NOT_BUILT)
    assert Monitor(None, 250.0, engine="numpy").engine_reason is None
    assert NOT_BUILT in engine_line()
    with pytest.raises(UsageError, match="install a C compiler"):
        Monitor(None, 250.0, engine="c")


def test_an_extension_of_another_version_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def does_not_fit(*_: object) -> None:
        raise ValueError("the constants do not fit this build of the extension")

    fake = SimpleNamespace(MOST_LEADS=3, HIGHEST_RATE_HZ=1000, FrontEnd=does_not_fit)
    monkeypatch.setitem(sys.modules, c_engine.NAME, fake)
    with pytest.raises(UsageError, match=r"another version .*: install the package again, or set ECGMOE_ENGINE=numpy"):
        Monitor(None, 250.0, engine="c")


def test_an_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="engine=fortran is no engine: give numpy or c"):
        Monitor(None, 250.0, engine="fortran")
    monkeypatch.setenv("ECGMOE_ENGINE", "C")
    with pytest.raises(UsageError, match="ECGMOE_ENGINE=C is no engine"):
        Monitor(None, 250.0)


def test_a_beat_of_the_c_engine_has_every_field_of_a_beat() -> None:
    from dataclasses import fields

    from ecgmoe_edge.streaming.c_engine.event_names import EventNames
    from ecgmoe_edge.streaming.events import Beat

    names = EventNames(250.0, ("II",), {"beat": ("N", "S", "V", "F")}, None)
    beat = names.beat((0, 500, 200, (0.7, 0.1, 0.1, 0.1), None, 0.9, 530, 620, 0, 0, 0, 0, -1, -1), 0.001)
    assert vars(beat).keys() == {field.name for field in fields(Beat)}
    assert (beat.label, beat.rr_ms, beat.delay_ms, beat.lead, beat.reason) == ("N", 800.0, 476.0, None, None)

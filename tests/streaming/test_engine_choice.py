"""Which engine runs: by argument, by variable, or the reference."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.streaming import Monitor, c_engine
from ecgmoe_edge.streaming.engines import NOT_BUILT, choose_engine, engine_line


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECGMOE_ENGINE", raising=False)
    monkeypatch.setitem(sys.modules, c_engine.NAME, SimpleNamespace(MOST_LEADS=3, HIGHEST_RATE_HZ=1000))


@pytest.fixture
def not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECGMOE_ENGINE", raising=False)
    monkeypatch.setitem(sys.modules, c_engine.NAME, None)


@pytest.mark.usefixtures("built")
def test_the_reference_runs_unless_the_c_engine_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_engine(None, leads=1, fs=250.0, context=False).name == "numpy"
    assert choose_engine("c", leads=1, fs=250.0, context=False).name == "c"
    monkeypatch.setenv("ECGMOE_ENGINE", "c")
    assert choose_engine(None, leads=1, fs=250.0, context=False).name == "c"
    assert choose_engine("numpy", leads=1, fs=250.0, context=False).reason is None


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("leads", "context", "why"), [(4, False, "3 leads"), (1, True, "10 s")])
def test_what_the_c_engine_has_no_room_for_runs_in_the_reference(leads: int, context: bool, why: str) -> None:
    choice = choose_engine("c", leads=leads, fs=250.0, context=context)
    assert choice.name == "numpy"
    assert why in str(choice.reason)


@pytest.mark.usefixtures("not_built")
def test_without_the_extension_the_reference_runs_and_the_c_engine_is_refused() -> None:
    monitor = Monitor(None, 250.0)
    assert (monitor.engine, monitor.engine_reason) == ("numpy", None)
    assert NOT_BUILT in engine_line()
    with pytest.raises(UsageError, match="install a C compiler"):
        Monitor(None, 250.0, engine="c")


def test_an_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="engine=fortran is no engine: give numpy or c"):
        Monitor(None, 250.0, engine="fortran")
    monkeypatch.setenv("ECGMOE_ENGINE", "C")
    with pytest.raises(UsageError, match="ECGMOE_ENGINE=C is no engine"):
        Monitor(None, 250.0)

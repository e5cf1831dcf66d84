"""A worker process that the system ends is reported in one sentence."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ecgmoe_edge.errors import WorkerError
from ecgmoe_edge.scoring.record_runs import ModelFile, run_records
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.worker_processes import worker_processes


def _killed(item: int, _: BeatModel | None) -> int:
    if item:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_killed_worker_is_an_error_with_advice_and_no_traceback_for_the_user() -> None:
    with pytest.raises(WorkerError, match=r"too little memory.* --jobs 1") as raised:
        run_records({"a": 0, "b": 1, "c": 2}, _killed, ModelFile(None), jobs=2)
    assert str(raised.value).count("\n") == 0
    assert raised.value.exit_code == 3


def _fail_after_the_first_of_many() -> None:
    with worker_processes(1) as pool:
        for _ in range(100):
            pool.submit(time.sleep, 1.0)
        raise KeyError


def test_after_an_error_no_further_task_is_started() -> None:
    started = time.monotonic()
    with pytest.raises(KeyError):
        _fail_after_the_first_of_many()
    assert time.monotonic() - started < 50.0

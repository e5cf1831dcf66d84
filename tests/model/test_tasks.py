from __future__ import annotations

import subprocess
import sys

import pytest

from ecgmoe_edge.compress.merge import merge_student
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.student import Student, StudentConfig
from ecgmoe_edge.tasks import STUDENT_TASKS, TASK_NAMES, TASKS, Task, refuse_untrained, task_named


def test_the_untrained_head_is_refused_with_what_to_do_and_the_others_are_not() -> None:
    refuse_untrained([name for name in TASK_NAMES if name != "potassium"])
    with pytest.raises(ModelError, match=r"potassium head is untrained.*MIMIC-IV-ECG"):
        refuse_untrained(["beat", "potassium"])


def test_no_bundle_is_made_of_the_untrained_head() -> None:
    with pytest.raises(ModelError, match="potassium head is untrained"):
        merge_student(Student(StudentConfig.named("nano")), ("beat", "potassium"))


def test_an_unknown_task_is_named_with_those_there_are() -> None:
    with pytest.raises(ModelError, match=r"'mood'.*beat, rhythm"):
        task_named("mood")


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_entry_is_complete(task: Task) -> None:
    assert (task.kind == "classification") == bool(task.classes) == (task.loss != "absolute error")
    assert (task.kind == "regression") == bool(task.unit)
    assert task.loss_weight > 0
    assert bool(task.figure[0]) == bool(task.figure[1]) == (task.score != "beats")
    assert (task.database is None) == (not task.trained)
    assert task.in_student == (task.name in STUDENT_TASKS) == (task.name in StudentConfig.named("small").tasks)


_WITH_ONE_MORE = '''
import sys, types
from pathlib import Path
import ecgmoe_edge

source = Path(ecgmoe_edge.__file__).parent / "tasks.py"
entry = """    Task(
        "height", "regression", "recording", score="value", loss="absolute error", loss_weight=0.04, unit="cm",
        scale=10.0, offset=170.0, database="ptbxl", figure=("height, mean absolute error, cm", "mae_cm"),
    ),
)
TASK_NAMES"""
module = sys.modules["ecgmoe_edge.tasks"] = types.ModuleType("ecgmoe_edge.tasks")
exec(compile(source.read_text().replace(")\\nTASK_NAMES", entry, 1), str(source), "exec"), module.__dict__)

import numpy as np, torch
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_config import TeacherConfig
from ecgmoe_edge.records.recording import stated_facts
from ecgmoe_edge.scoring.model_card import _figures
from ecgmoe_edge.scoring.task_records import TaskRecord
from ecgmoe_edge.scoring.task_results import Baseline, TaskEvaluation
from ecgmoe_edge.scoring.task_table import render_task
from ecgmoe_edge.training.config import Losses
from ecgmoe_edge.training.examples import ARRAYS, whole_labels
from ecgmoe_edge.training.fit import labels_loss, loss_weights

task = module.task_named("height")
assert loss_weights(Losses())["height"] == 0.04
assert EcgMoe(TeacherConfig()).heads["height"] is not None
assert ARRAYS[-1] == "height"
labels = whole_labels(task, stated_facts(height=180.0).get("height"), 3)
assert labels.tolist() == [180.0] * 3
assert labels_loss(task, torch.zeros(3, 1), {"height": torch.from_numpy(labels)}).item() == 1.0
people = tuple(TaskRecord(str(n), str(n), "II", 10.0, 9, truth=170.0 + n, answer=172.0) for n in range(5))
evaluation = TaskEvaluation("height", people, baseline=Baseline(170.0, 5, "others")).to_json()
assert evaluation["height"]["mae_cm"] == 1.2
assert evaluation["height"]["baseline"]["says_cm"] == 170.0
assert "mean absolute error in cm" in render_task(evaluation)
assert next(iter(_figures(evaluation)))[0] == "height, mean absolute error, cm"
from typer.testing import CliRunner
from ecgmoe_edge.cli.app import app
assert "height" in CliRunner().invoke(app, ["evaluate", "--task", "mood"]).output
'''


def test_a_further_task_is_one_entry() -> None:
    done = subprocess.run([sys.executable, "-c", _WITH_ONE_MORE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

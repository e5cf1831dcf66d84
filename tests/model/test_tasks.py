from __future__ import annotations

import pytest

from ecgmoe_edge.compress.merge import merge_student
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.student import Student, StudentConfig
from ecgmoe_edge.model.tasks import TASK_NAMES, refuse_untrained, task_named


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

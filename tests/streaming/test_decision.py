"""Which constants the decision rule takes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from ecgmoe_edge.streaming.decision import DecisionRule


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("memory_beats", 0, "at least 1, and is 0"),
        ("memory_beats", -1, "at least 1, and is -1"),
        ("fibrillation_beats", 0, "at least 1, and is 0"),
        ("irregular_penalty", -0.5, "at least 0, and is -0.5"),
        ("fibrillation_penalty", -3.0, "at least 0, and is -3.0"),
        ("margin_share_s", 1.5, "from 0 to 1, and is 1.5"),
        ("margin_share_v", -0.1, "from 0 to 1, and is -0.1"),
        ("irregular_share", -1.0, "from 0 to 1, and is -1.0"),
        ("shape_share", 2.0, "from 0 to 1, and is 2.0"),
        ("shape_correlation", 1.1, "from 0 to 1, and is 1.1"),
        ("shape_correlation", 0.0, "above 0: every beat"),
        ("usual_margin", math.nan, "a finite number, and is nan"),
        ("fibrillation_penalty", math.inf, "a finite number, and is inf"),
    ],
)
def test_a_constant_that_cannot_be_is_refused_by_name(name: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be {said}"):
        replace(DecisionRule(), **{name: value})


def test_the_constants_at_their_limits_are_taken() -> None:
    least = DecisionRule(0.0, 0.0, 0.0, 1, 0.0, 0.0, 0.0, 1, 0.0, 0.01)
    most = DecisionRule(1.0, 1.0, 9.0, 10**6, 1.0, 99.0, 99.0, 10**6, 1.0, 1.0)
    assert least.memory_beats < most.memory_beats

"""Which constants the decision rule takes, and how several leads are heard."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ecgmoe_edge.streaming.decision import DecisionRule, heard_together

CLASSES = ("N", "S", "V", "F")


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


def test_of_several_leads_the_one_that_shows_v_most_says_v_and_all_say_the_rest() -> None:
    flat, sure = [2.0, 0.0, -3.0, -2.0], [1.0, 0.0, 5.0, -2.0]
    leads = np.array([flat, sure], np.float32)
    together = heard_together(leads, CLASSES)
    np.testing.assert_allclose(heard_together(leads[::-1], CLASSES), together, atol=1e-6)
    n, s, v, f = together.astype(float)
    assert v - np.logaddexp(n, s) == pytest.approx(5.0 - np.logaddexp(1.0, 0.0), abs=1e-5)
    own = leads - np.logaddexp.reduce(leads, axis=1, keepdims=True)
    np.testing.assert_allclose([n, s, f], own.mean(axis=0)[[0, 1, 3]], atol=1e-5)


def test_one_lead_is_left_as_it_is() -> None:
    logits = np.array([[2.0, 0.5, -3.0, -2.0]], np.float32)
    np.testing.assert_array_equal(heard_together(logits, CLASSES), logits[0])
    np.testing.assert_allclose(
        heard_together(logits.repeat(2, axis=0), CLASSES) - logits[0], -np.logaddexp.reduce(logits[0]), atol=1e-6
    )

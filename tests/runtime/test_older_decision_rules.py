"""Bundles made before a constant was added to the decision rule are read, and get the labels that they got then."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_bundle import tiny_files, tiny_manifest

from ecgmoe_edge.runtime import load_bundle, shipped_bundle, write_bundle
from ecgmoe_edge.runtime.compatibility import LAST_WITHOUT_NUMBER, decision_from_manifest, decision_to_manifest
from ecgmoe_edge.streaming.decision import RULE_VERSION, Decision, DecisionRule, constants_before, constants_of
from ecgmoe_edge.streaming.features import FEATURE_NAMES
from ecgmoe_edge.streaming.patient.rr_history import IRREGULAR_SHARE
from ecgmoe_edge.streaming.patient.shapes import ShapeMemory
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID

CLASSES, RHYTHMS = ("N", "S", "V", "F"), ("N", "AF", "other", "noisy")
N, S, V = range(3)

# What manifests of the four versions held, before the version was written into them.
FIRST = {
    "margin_share_s": 0.25,
    "margin_share_v": 0.25,
    "usual_margin": -6.0,
    "memory_beats": 300,
    "irregular_share": 0.4,
    "irregular_penalty": 1.0,
}
SHAPES = {**FIRST, "shape_share": 0.8, "shape_correlation": 0.9}
RHYTHM_GUARD = {**SHAPES, "irregular_penalty": 0.5, "fibrillation_penalty": 3.0, "fibrillation_beats": 64}
EARLY_SHAPES = {**RHYTHM_GUARD, "shape_correlation": 0.85, "shape_early_share": 0.85, "fibrillation_limit": 0.25}
OLD: list[dict[str, Any]] = [FIRST, SHAPES, RHYTHM_GUARD, EARLY_SHAPES]

Beats = Sequence[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]


@pytest.fixture(scope="module")
def beats() -> Beats:
    """Logits, RR features, window and rhythm logits of 400 beats of three shapes, half of them in AF."""
    random = np.random.default_rng(5)
    shapes = random.normal(size=(3, BEAT_GRID.size)).astype(np.float32)
    made = []
    for number in range(400):
        features = random.normal(scale=0.3, size=len(FEATURE_NAMES)).astype(np.float32)
        features[IRREGULAR_SHARE] = random.uniform(0.2, 0.9)
        rhythm = np.array([0.0, 3.0 if number > 200 else -3.0, -1.0, -2.0], np.float32)
        window = shapes[number % 3] + random.normal(scale=0.1, size=BEAT_GRID.size).astype(np.float32)
        made.append((random.normal(scale=3.0, size=4).astype(np.float32), features, window, rhythm))
    return made


def applied(rule: DecisionRule, beats: Beats) -> NDArray[np.float64]:
    decision = Decision(rule, CLASSES, RHYTHMS)
    return np.array([decision.apply(logits, features, window, rhythm) for logits, features, window, rhythm in beats])


def by_the_first_rules(constants: dict[str, Any], beats: Beats) -> NDArray[np.float64]:
    """The rule as it was in its first two versions, where rhythms had no weight and shapes no early beats."""
    shapes = ShapeMemory(constants.get("shape_correlation", 0.9), 0.0)
    margins, out = {S: constants["usual_margin"], V: constants["usual_margin"]}, []
    for number, (logits, features, window, _) in enumerate(beats):
        own = logits.astype(np.float64)
        if "shape_share" in constants:
            margin = float(own[V] - np.logaddexp(own[N], own[S]))
            own[V] += constants["shape_share"] * shapes.correction(window, margin, None)
        adjusted = own.copy()
        for index, share in ((S, constants["margin_share_s"]), (V, constants["margin_share_v"])):
            adjusted[index] -= share * max(0.0, margins[index] - constants["usual_margin"])
            weight = 1.0 / min(constants["memory_beats"], number + 60)
            margins[index] += weight * (float(np.clip(own[index] - own[N], -8.0, 8.0)) - margins[index])
        if features[IRREGULAR_SHARE] > constants["irregular_share"]:
            adjusted[S] -= constants["irregular_penalty"]
        out.append(adjusted)
    return np.array(out)


@pytest.mark.parametrize("constants", [FIRST, SHAPES])
def test_a_rule_from_before_the_rhythm_guard_gives_the_scores_of_then(beats: Beats, constants: dict[str, Any]) -> None:
    rule = decision_from_manifest(constants, "old")
    assert np.allclose(applied(rule, beats), by_the_first_rules(constants, beats))
    assert not np.allclose(applied(DecisionRule(), beats), by_the_first_rules(constants, beats))


def test_a_rule_from_before_early_beats_leaves_the_beats_of_a_shape_together(beats: Beats) -> None:
    rule = decision_from_manifest(RHYTHM_GUARD, "old")
    assert (rule.shape_early_share, rule.fibrillation_penalty, rule.shape_correlation) == (0.0, 3.0, 0.9)
    later = decision_from_manifest({**RHYTHM_GUARD, "shape_early_share": 0.85, "fibrillation_limit": 0.25}, "later")
    assert not np.allclose(applied(rule, beats), applied(later, beats))


@pytest.mark.parametrize(("version", "constants"), list(enumerate(OLD, 1)))
def test_a_manifest_without_a_version_has_that_of_its_newest_constant(version: int, constants: dict[str, Any]) -> None:
    rule = decision_from_manifest(constants, "old")
    assert {name: getattr(rule, name) for name in constants} == constants
    assert set(constants) == set(constants_of(version))
    assert {name: getattr(rule, name) for name in constants_before(version)} == constants_before(version)
    assert decision_from_manifest({"rule": version, **constants}, "numbered") == rule


def test_a_bundle_with_fewer_constants_loads(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny", tiny_manifest(), tiny_files())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["decision"] = FIRST
    (folder / "manifest.json").write_text(json.dumps(manifest))
    rule = load_bundle(folder).decision
    assert (rule.shape_share, rule.fibrillation_penalty, rule.irregular_penalty) == (0.0, None, 1.0)


def test_a_new_manifest_says_its_version_and_reads_back() -> None:
    for rule in (DecisionRule(), DecisionRule(irregular_penalty=1.5, fibrillation_penalty=None)):
        written = decision_to_manifest(rule)
        assert written["rule"] == RULE_VERSION >= LAST_WITHOUT_NUMBER
        assert decision_from_manifest(written, "new") == rule


def test_the_shipped_bundle_keeps_every_constant_of_its_manifest() -> None:
    raw = json.loads((shipped_bundle() / "manifest.json").read_text())["decision"]
    rule = load_bundle(shipped_bundle()).decision
    assert {name: getattr(rule, name) for name in raw if name != "rule"} == {
        name: value for name, value in raw.items() if name != "rule"
    }

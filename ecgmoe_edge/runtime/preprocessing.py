"""Ties a bundle to the front end that feeds it: what the model was trained on must be what this version
gives.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec

from ecgmoe_edge.errors import BundleError
from ecgmoe_edge.runtime.manifest import Preprocessing
from ecgmoe_edge.streaming import features
from ecgmoe_edge.streaming.decision import RULE_VERSION, DecisionRule, constants_before, constants_of
from ecgmoe_edge.streaming.patient.rr_history import RR_SEQUENCE
from ecgmoe_edge.streaming.signal import filters, windows

_DIGITS = 6  # float32 tables, written as decimal numbers
LAST_WITHOUT_NUMBER = 4  # of the rule's versions; since then the manifest says which it has
# Where the rule itself has no upper limit. Logits are natural logarithms: 30 are odds of ten million million to one,
# and more would decide every beat. A day has some 100,000 beats.
_PLAUSIBLE = {
    "usual_margin": (-30.0, 30.0),
    "irregular_penalty": (0.0, 30.0),
    "fibrillation_penalty": (0.0, 30.0),
    "memory_beats": (1, 100_000),
    "fibrillation_beats": (1, 100_000),
}
_AGAIN = "It was edited or damaged: export the bundle again."


def installed_preprocessing() -> Preprocessing:
    """What the installed front end gives a model."""
    return Preprocessing(
        model_rate_hz=float(windows.MODEL_RATE_HZ),
        band_hz=(float(filters.BAND_HZ[0]), float(filters.BAND_HZ[1])),
        grid_first=int(windows.BEAT_GRID[0]),
        grid_last=int(windows.BEAT_GRID[-1]),
        waveform_limit=float(features.WAVEFORM_LIMIT),
        feature_limit=float(features.FEATURE_LIMIT),
        feature_names=tuple(features.FEATURE_NAMES),
        feature_centre=tuple(round(float(x), _DIGITS) for x in features.FEATURE_CENTRE),
        feature_scale=tuple(round(float(x), _DIGITS) for x in features.FEATURE_SCALE),
        rr_sequence_length=RR_SEQUENCE,
    )


def check_preprocessing(wanted: Preprocessing, where: str) -> None:
    """Raise BundleError, naming what differs, unless the installed front end gives what the model was trained
    on.
    """
    given = installed_preprocessing()
    different = [name for name in Preprocessing.__struct_fields__ if getattr(wanted, name) != getattr(given, name)]
    if not different:
        return
    said = "; ".join(
        f"{name}: {_short(getattr(wanted, name))} in the bundle, {_short(getattr(given, name))} here"
        for name in different
    )
    raise BundleError(
        f"{where} was trained for another front end ({said}), so its labels would be wrong. "
        "Install the version of ecgmoe-edge that made it, or export the bundle again."
    )


def decision_to_manifest(rule: DecisionRule) -> dict[str, Any]:
    """The rule's constants as the manifest holds them, and the version of the rule."""
    return {"rule": RULE_VERSION, **asdict(rule)}


def decision_from_manifest(constants: dict[str, Any], where: str) -> DecisionRule:
    """The rule of a manifest, of this version or an older one.

    An older one has fewer constants; those that it lacks get the value with which the rule acts as it did then. Raises
    BundleError for a newer version, and for a constant that is unknown, missing or of the wrong type.
    """
    given = dict(constants)
    version = given.pop("rule") if "rule" in given else _version_without_number(given)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise BundleError(f"{where}: the version of the decision rule is {version!r}, and must be 1 or more. {_AGAIN}")
    if version > RULE_VERSION:
        raise BundleError(
            f"{where} needs version {version} of the decision rule, and this ecgmoe-edge knows {RULE_VERSION}: "
            "update ecgmoe-edge."
        )
    known = set(constants_of(version))
    if given.keys() - known:
        names = ", ".join(sorted(given.keys() - known))
        raise BundleError(
            f"{where}: version {version} of the decision rule has no constant {names}: update ecgmoe-edge, or export "
            "the bundle again with this version."
        )
    if known - given.keys():
        names = ", ".join(sorted(known - given.keys()))
        raise BundleError(f"{where}: missing constants of the decision rule: {names}. {_AGAIN}")
    try:
        rule = msgspec.convert({**given, **constants_before(version)}, DecisionRule)
    except msgspec.ValidationError as error:
        raise BundleError(f"{where}: the decision rule does not hold ({error}). Export the bundle again.") from error
    for name, (least, most) in _PLAUSIBLE.items():
        value = getattr(rule, name)
        if value is not None and not least <= value <= most:
            raise BundleError(
                f"{where}: {name} of the decision rule is {value:g}, and must be from {least:g} to {most:g}. {_AGAIN}"
            )
    return rule


def _version_without_number(constants: dict[str, Any]) -> int:
    """The version of a manifest from before the version was written: that of its newest constant."""
    return next(
        (version for version in range(LAST_WITHOUT_NUMBER, 1, -1) if _new_in(version) & constants.keys()),
        1,
    )


def _new_in(version: int) -> set[str]:
    return set(constants_of(version)) - set(constants_of(version - 1))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

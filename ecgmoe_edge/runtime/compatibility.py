"""Checks that a bundle fits the installed version: preprocessing, classes, and constants of the decision rule.

If they differ, the model would run, but its labels would be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from ecgmoe_edge.contract import BEAT_TASK
from ecgmoe_edge.errors import BundleError
from ecgmoe_edge.runtime.manifest import Preprocessing
from ecgmoe_edge.streaming import features
from ecgmoe_edge.streaming.decision import RULE_VERSION, DecisionRule, constants_before, constants_of
from ecgmoe_edge.streaming.patient.rr_history import RR_SEQUENCE
from ecgmoe_edge.streaming.signal import filters, windows
from ecgmoe_edge.tasks import BEAT_CLASSES, TASK_CLASSES

_DIGITS = 6  # decimal places of the float32 tables in a manifest
LAST_WITHOUT_NUMBER = 4  # last version of the decision rule whose manifests do not contain the version
# Limits of constants for which the rule itself has none. Logits are natural logarithms: 30 means odds of 10^13 to 1,
# and a larger constant would decide every beat alone. A day has about 100,000 beats.
_PLAUSIBLE = {
    "usual_margin": (-30.0, 30.0),
    "irregular_penalty": (0.0, 30.0),
    "fibrillation_penalty": (0.0, 30.0),
    "memory_beats": (1, 100_000),
    "fibrillation_beats": (1, 100_000),
}
# A model need not have the answer that a peak is an artefact.
_OTHER_CLASSES = {BEAT_TASK: (BEAT_CLASSES,)}
_AGAIN = "It was edited or damaged: export the bundle again."


def installed_preprocessing() -> Preprocessing:
    """Preprocessing of the installed front end."""
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
    """Check that the installed front end is the one that the model was trained with.

    Args:
        wanted: preprocessing of the manifest.
        where: the bundle, for messages.

    Raises:
        BundleError: they differ; the message says in what.
    """
    given = installed_preprocessing()
    different = [name for name in Preprocessing.__struct_fields__ if getattr(wanted, name) != getattr(given, name)]
    if not different:
        return
    differences = "; ".join(
        f"{name}: {_short(getattr(wanted, name))} in the bundle, {_short(getattr(given, name))} here"
        for name in different
    )
    raise BundleError(
        f"{where} was trained for another front end ({differences}), so its labels would be wrong. "
        "Install the version of ecgmoe-edge that made it, or export the bundle again."
    )


def check_classes(classes: Mapping[str, tuple[str, ...]], where: str) -> None:
    """Check that each task is known and has the classes of `ecgmoe_edge.tasks` in the same order.

    A model may lack the answer that a peak is an artefact.

    Args:
        classes: classes of each task, from the manifest.
        where: the bundle, for messages.

    Raises:
        BundleError: a task is unknown or has other classes.
    """
    for task, names in classes.items():
        if task not in TASK_CLASSES:
            raise BundleError(
                f"{where} has the task {task}, which this version does not know: it knows {', '.join(TASK_CLASSES)}. "
                "Install the version of ecgmoe-edge that made it, or export the bundle again."
            )
        if names not in (TASK_CLASSES[task], *_OTHER_CLASSES.get(task, ())):
            raise BundleError(
                f"{where} has the classes {', '.join(names)} for the task {task}; this version has "
                f"{', '.join(TASK_CLASSES[task])}, so its labels would be wrong. "
                "Install the version of ecgmoe-edge that made it, or export the bundle again."
            )


def decision_to_manifest(rule: DecisionRule) -> dict[str, Any]:
    """Constants and version of the rule, in the form of the manifest."""
    return {"rule": RULE_VERSION, **asdict(rule)}


def decision_from_manifest(constants: dict[str, Any], where: str) -> DecisionRule:
    """Read the decision rule of a manifest, of this or an older version of the rule.

    An older version has fewer constants. The missing ones get values with which the rule works as that version did.

    Args:
        constants: the entry `decision` of the manifest.
        where: the bundle, for messages.

    Raises:
        BundleError: the version is newer than this one, or a constant is unknown, missing or of the wrong type.
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
        raise BundleError(f"{where}: the decision rule is invalid ({error}). Export the bundle again.") from error
    for name, (least, most) in _PLAUSIBLE.items():
        value = getattr(rule, name)
        if value is not None and not least <= value <= most:
            raise BundleError(
                f"{where}: {name} of the decision rule is {value:g}, and must be from {least:g} to {most:g}. {_AGAIN}"
            )
    return rule


def _version_without_number(constants: dict[str, Any]) -> int:
    """The version of a rule whose manifest does not contain it: the version that added its newest constant."""
    return next(
        (version for version in range(LAST_WITHOUT_NUMBER, 1, -1) if _new_in(version) & constants.keys()),
        1,
    )


def _new_in(version: int) -> set[str]:
    return set(constants_of(version)) - set(constants_of(version - 1))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

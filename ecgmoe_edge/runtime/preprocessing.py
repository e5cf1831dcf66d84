"""Ties a bundle to the front end that feeds it: what the model was trained on must be what this version
gives.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import msgspec

from ecgmoe_edge.errors import BundleError
from ecgmoe_edge.runtime.manifest import Preprocessing
from ecgmoe_edge.streaming import features, filters, windows
from ecgmoe_edge.streaming.decision import DecisionRule

_DIGITS = 6  # float32 tables, written as decimal numbers


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
        rr_sequence_length=features.RR_SEQUENCE,
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
        "Install the version of ecgmoe-edge that made it, or export the bundle anew."
    )


def decision_to_manifest(rule: DecisionRule) -> dict[str, Any]:
    """The rule's constants as the manifest holds them."""
    return asdict(rule)


def decision_from_manifest(constants: dict[str, Any], where: str) -> DecisionRule:
    """The rule of a manifest; raises BundleError for a constant that is unknown, missing or of the wrong
    type.
    """
    known = {field.name for field in fields(DecisionRule)}
    for problem, names in (("unknown", set(constants) - known), ("missing", known - set(constants))):
        if names:
            raise BundleError(
                f"{where}: {problem} constants of the decision rule: {', '.join(sorted(names))}. "
                "Install the version of ecgmoe-edge that made the bundle, or export it anew."
            )
    try:
        return msgspec.convert(constants, DecisionRule)
    except msgspec.ValidationError as error:
        raise BundleError(f"{where}: the decision rule does not hold ({error}). Export the bundle anew.") from error


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

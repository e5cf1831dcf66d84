"""Constants of the later stages of the C monitor: patient history, model inputs, decision, rhythm, totals.

Each function returns a dictionary that is named like the members of one struct, in the order of its header.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ecgmoe_edge import contract
from ecgmoe_edge.streaming import decision, features, model_faults, totals, unusable
from ecgmoe_edge.streaming.c_tables.render import Constants
from ecgmoe_edge.streaming.c_tables.sizes import sizes
from ecgmoe_edge.streaming.patient import lead_history, own_layer, rr_history, shapes
from ecgmoe_edge.streaming.rhythm import alarms, ecg_presence, model_rhythm, predictability, silence
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.signal.quality import POOR_QUALITY
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID
from ecgmoe_edge.tasks import ARTEFACT

ABSENT = -1  # Python's None, for an index
_R_INDEX = int(np.flatnonzero(BEAT_GRID == 0)[0])


def rr_history_constants(fs: float) -> Constants:
    """Return `ecgmoe_rr_history_constants`; `fs` in Hz."""
    return {
        "fs": fs,
        "shortest_s": rr_history.SHORTEST_S,
        "longest_s": rr_history.LONGEST_S,
        "irregular_deviation": rr_history.IRREGULAR_DEVIATION,
        "ratio_limit": rr_history.RR_RATIO_LIMIT,
        "z_limit": rr_history.Z_LIMIT,
        "z_of_median": rr_history.Z_OF_MEDIAN,
        "z_of_deviation": rr_history.Z_OF_DEVIATION,
    }


def lead_history_constants() -> Constants:
    """Return `ecgmoe_lead_history_constants`."""
    return {
        "least_quality": lead_history.LEAST_QUALITY,
        "least_share": lead_history.LEAST_SHARE,
        "near_begin": max(0, _R_INDEX - lead_history.NEAR_R),
        "near_end": _R_INDEX + lead_history.NEAR_R + 1,
    }


def features_constants() -> Constants:
    """Return `ecgmoe_features_constants`."""
    return {
        "centre": features.FEATURE_CENTRE.tolist(),
        "scale": features.FEATURE_SCALE.tolist(),
        "parts": [_points(part) for part in features.PARTS],
        "around_r": _points(features.AROUND_R),
        "slope": _points(features.SLOPE_FROM),
        "before_qrs": _points(features.BEFORE_QRS),
        "r_index": _R_INDEX,
        "feature_limit": features.FEATURE_LIMIT,
        "waveform_limit": features.WAVEFORM_LIMIT,
        "least_amplitude": features.LEAST_AMPLITUDE,
        "least_energy": features.LEAST_ENERGY,
        "least_area": features.LEAST_AREA,
        "log_limit": features.LOG_LIMIT,
        "width_points": features.WIDTH_POINTS,
        "little_slope": features.LITTLE_SLOPE,
        "little_difference": features.LITTLE_DIFFERENCE,
        "little_amplitude": features.LITTLE_AMPLITUDE,
    }


def model_tasks(classes: Mapping[str, Sequence[str]], outputs: Mapping[str, int]) -> Constants:
    """Return `ecgmoe_model_tasks`.

    Args:
        classes: classes of each task; empty without a model.
        outputs: number of values of each output of the model for one lead, in the order of the outputs.

    Raises:
        ValueError: the model is too large for the arrays in C.
    """
    beats, rhythms = tuple(classes.get(contract.BEAT_TASK, ())), tuple(classes.get(contract.RHYTHM_TASK, ()))
    names = list(outputs)
    routes = [names.index(name) for name in names if contract.is_route(name)]
    most_classes, most_outputs, paths = (
        sizes()[f"ECGMOE_{name}"] for name in ("MOST_CLASSES", "MOST_OUTPUTS", "PATHS")
    )
    if max(len(beats), len(rhythms)) > most_classes or len(names) > most_outputs or len(routes) > paths:
        raise ValueError(
            f"the C monitor has room for {most_classes} classes, {most_outputs} outputs and {paths} routers, and this "
            f"model has {max(len(beats), len(rhythms))} classes, {len(names)} outputs and {len(routes)} routers"
        )
    return {
        "n_classes": len(beats),
        "normal": _index(beats, "N"),
        "s": _index(beats, "S"),
        "v": _index(beats, "V"),
        "artefact": _index(beats, ARTEFACT),
        "n_rhythms": len(rhythms),
        "af": _index(rhythms, model_rhythm.AF),
        "noisy": _index(rhythms, model_rhythm.NOISY),
        "n_outputs": len(names),
        "width": _padded(outputs.values(), most_outputs, 0),
        "beat_output": _index(names, contract.BEAT_TASK),
        "rhythm_output": _index(names, contract.RHYTHM_TASK),
        "routes": _padded(routes, paths, ABSENT),
        "largest_answer": contract.LARGEST_ANSWER,
    }


def decision_rule(rule: decision.DecisionRule) -> Constants:
    """Return `ecgmoe_decision_rule`, field by field."""
    return {name: math.nan if value is None else value for name, value in asdict(rule).items()}


def labeller_constants(
    fs: float,
    classes: Mapping[str, Sequence[str]],
    outputs: Mapping[str, int],
    rule: decision.DecisionRule | None = None,
    limits: RhythmLimits | None = None,
) -> Constants:
    """Return `ecgmoe_labeller_constants`; arguments as those of `Labeller` and `model_tasks`."""
    beats = tuple(classes.get(contract.BEAT_TASK, ()))
    return {
        "fs": fs,
        "poor_quality": POOR_QUALITY,
        "tasks": model_tasks(classes, outputs),
        "rule": decision_rule(rule or decision.DecisionRule()),
        "decision": _decision_constants(),
        "own_layer": {
            "columns": [_index(beats, name) for name in own_layer.LAYER_CLASSES],
            "every": own_layer.EVERY,
            "window_scale": own_layer.WINDOW_SCALE,
            "log_probability_scale": own_layer.LOG_PROBABILITY_SCALE,
            "least_log_probability": own_layer.LEAST_LOG_PROBABILITY,
        },
        "rhythm": _tracker_constants(limits or RhythmLimits()),
        "faults": {"report": math.ceil(model_faults.REPORT_S * fs)},
    }


def silence_constants(fs: float, limits: RhythmLimits | None = None) -> Constants:
    """Return `ecgmoe_silence_constants`; `fs` in Hz."""
    limits = limits or RhythmLimits()
    seconds = (limits.pause_s, limits.asystole_s)
    return {"seconds": seconds, "wait": [round((each + silence.CERTAIN_S) * fs) for each in seconds], "fs": fs}


def unusable_constants(fs: float) -> Constants:
    """Return `ecgmoe_unusable_constants`; `fs` in Hz."""
    return {"limit": round(unusable.REPORT_S * fs)}


def totals_constants(fs: float) -> Constants:
    """Return `ecgmoe_totals_constants`; `fs` in Hz."""
    return {"fs": fs, "percents": totals.PERCENTS}


def _decision_constants() -> Constants:
    return {
        "early": decision.EARLY,
        "margin_limit": decision.MARGIN_LIMIT,
        "beats_before": decision.BEATS_BEFORE,
        "shapes": {
            "form_begin": shapes.FORM.start,
            "ratio": shapes.RATIO,
            "least_weight": shapes.LEAST_WEIGHT,
            "margin_limit": shapes.MARGIN_LIMIT,
            "trust_beats": shapes.TRUST_BEATS,
            "trust_early": shapes.TRUST_EARLY,
            "least_size": shapes.LEAST_SIZE,
            "earliness": shapes.EARLINESS,
            "margin_beats": shapes.MARGIN_BEATS,
        },
    }


def _tracker_constants(limits: RhythmLimits) -> Constants:
    return {
        "limits": asdict(limits),
        "alarms": {
            "hysteresis_bpm": alarms.HYSTERESIS_BPM,
            "longest_span": alarms.LONGEST_SPAN,
            "no_rate_after": alarms.NO_RATE_AFTER,
        },
        "presence": {
            "clear_quality": ecg_presence.CLEAR_QUALITY,
            "clear_share": ecg_presence.CLEAR_SHARE,
            "alike": ecg_presence.ALIKE,
            "largest_spread": ecg_presence.LARGEST_SPREAD,
            "shortest_ms": ecg_presence.SHORTEST_MS,
            "longest_ms": ecg_presence.LONGEST_MS,
            "fewest_beats": ecg_presence.FEWEST_BEATS,
            "forgotten_beats": ecg_presence.FORGOTTEN_BEATS,
            "fewest_intervals": ecg_presence.FEWEST_INTERVALS,
            "enough_credit": ecg_presence.ENOUGH_CREDIT,
            "most_credit": ecg_presence.MOST_CREDIT,
            "debit": ecg_presence.DEBIT,
            "least_credit": ecg_presence.LEAST_CREDIT,
            "known_credit": ecg_presence.KNOWN_CREDIT,
            "least_credit_known": ecg_presence.LEAST_CREDIT_KNOWN,
        },
        "model_rhythm": {
            "score_memory": model_rhythm.SCORE_MEMORY,
            "fewest_rr": model_rhythm.FEWEST_RR,
            "hold_beats": model_rhythm.HOLD_BEATS,
            "predictability": {
                "least_spread": predictability.LEAST_SPREAD,
                "predictable": predictability.PREDICTABLE,
                "steady_within": predictability.STEADY_WITHIN,
                "steady_share": predictability.STEADY_SHARE,
                "outlier": predictability.OUTLIER,
            },
        },
    }


def _points(part: slice) -> Constants:
    begin, end, _ = part.indices(BEAT_GRID.size)
    return {"begin": begin, "end": end}


def _index(names: Sequence[str], name: str) -> int:
    return list(names).index(name) if name in names else ABSENT


def _padded(values: Any, length: int, fill: int) -> list[int]:
    held = list(values)
    return held + [fill] * (length - len(held))

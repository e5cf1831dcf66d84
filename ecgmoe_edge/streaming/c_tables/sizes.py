"""Lengths of arrays in the C monitor, all from the Python objects that own these arrays."""

from __future__ import annotations

from importlib import import_module

import numpy as np

from ecgmoe_edge import contract
from ecgmoe_edge.streaming import beat_builder, features
from ecgmoe_edge.streaming.patient import lead_history, own_layer, rr_history, shapes
from ecgmoe_edge.streaming.qrs import candidates, detector, lead_memory, rating, weights
from ecgmoe_edge.streaming.rhythm import alarms, ecg_presence, predictability
from ecgmoe_edge.streaming.signal import windows
from ecgmoe_edge.tasks import TASKS, task_named


def sizes() -> dict[str, int]:
    """Return the macros of `ecgmoe_sizes.h` with their values, in their order."""
    return {
        # Beat windows on the grid of 128 Hz.
        "ECGMOE_GRID": windows.BEAT_GRID.size,
        "ECGMOE_GRID_R": int(np.flatnonzero(windows.BEAT_GRID == 0)[0]),
        "ECGMOE_RPEAK_GRID": windows.RPEAK_GRID.size,
        "ECGMOE_RPEAK_GRID_R": int(np.flatnonzero(windows.RPEAK_GRID == 0)[0]),
        # Inputs and outputs of a model.
        "ECGMOE_FEATURES": features.N_FEATURES,
        "ECGMOE_RR_FEATURES": len(rr_history.RR_FEATURE_NAMES),
        "ECGMOE_TEMPLATE_FEATURES": len(features.TEMPLATE_FEATURE_NAMES),
        "ECGMOE_RR_SEQUENCE": rr_history.RR_SEQUENCE,
        "ECGMOE_PATHS": len(contract.PATHS),
        "ECGMOE_MOST_LEADS": beat_builder.MOST_LEADS,
        "ECGMOE_MOST_CLASSES": len(task_named(contract.BEAT_TASK).classes),
        "ECGMOE_MOST_RHYTHMS": len(task_named(contract.RHYTHM_TASK).classes),
        "ECGMOE_MOST_OUTPUTS": len(TASKS) + len(contract.PATHS),
        # Patient history.
        "ECGMOE_RR_MEMORY": rr_history.RR_MEMORY,
        "ECGMOE_RR_MEAN_OF": rr_history.MEAN_OF,
        "ECGMOE_RR_SPREAD_OF": rr_history.SPREAD_OF,
        "ECGMOE_RR_MEDIAN_OF": rr_history.MEDIAN_OF,
        "ECGMOE_RR_MEAN_STEPS": rr_history.MEAN_STEPS,
        "ECGMOE_RR_MEDIAN_STEPS": rr_history.MEDIAN_STEPS,
        "ECGMOE_TEMPLATE_BEATS": lead_history.TEMPLATE_BEATS,
        "ECGMOE_AMPLITUDE_BEATS": lead_history.AMPLITUDE_BEATS,
        "ECGMOE_QUALITY_BEATS": lead_history.QUALITY_BEATS,
        "ECGMOE_SHAPES": shapes.SHAPES,
        "ECGMOE_FORM": shapes.FORM.stop - shapes.FORM.start,
        "ECGMOE_EARLINESS_CLASSES": len(shapes.EARLINESS) + 1,
        "ECGMOE_TEMPLATE_PARTS": len(features.PARTS),
        "ECGMOE_LAYER_INPUTS": own_layer.LAYER_INPUTS,
        "ECGMOE_LAYER_CLASSES": len(own_layer.LAYER_CLASSES),
        # R peaks.
        "ECGMOE_WAVEFORM": candidates.WAVEFORM,
        "ECGMOE_QRS_MEMORY": rating.MEMORY,
        "ECGMOE_QRS_INPUTS": len(weights.INPUTS),
        "ECGMOE_QRS_HIDDEN": weights.QRS_NETWORK.bias.size,
        "ECGMOE_LOUD_PEAKS": lead_memory.LOUD_PEAKS,
        "ECGMOE_MOST_REJECTED": detector.MOST_REJECTED,
        "ECGMOE_SHIFTS": lead_memory.SHIFTS,
        "ECGMOE_STRONGEST": lead_memory.STRONGEST,
        # Rhythm.
        "ECGMOE_RATE_BEATS": alarms.RATE_BEATS,
        "ECGMOE_RECENT_BEATS": ecg_presence.RECENT_BEATS,
        "ECGMOE_PREDICTED_INTERVALS": predictability.INTERVALS,
        "ECGMOE_PREDICTION_ORDER": predictability.ORDER,
        # Of single modules.
        **_of_modules(),
    }


def _of_modules() -> dict[str, int]:
    """Return the lengths that the modules of this package declare themselves."""
    found: dict[str, int] = {}
    for name in ("signal", "qrs", "labels"):
        try:
            module = import_module(f"ecgmoe_edge.streaming.c_tables.{name}")
        except ModuleNotFoundError:
            continue
        own = getattr(module, "sizes", sizes)
        found |= {} if own is sizes else own()
    return found


def header() -> str:
    """Return the text of `ecgmoe_sizes.h`."""
    lines = [f"#define {name} {value}" for name, value in sizes().items()]
    return "\n".join(
        (
            "/*",
            " * Lengths of arrays, from the Python objects that own these arrays. Generated: change the Python objects",
            " * or ecgmoe_edge/streaming/c_tables/sizes.py, and run `python -m ecgmoe_edge.streaming.c_tables`.",
            " */",
            "#ifndef ECGMOE_SIZES_H",
            "#define ECGMOE_SIZES_H",
            "",
            *lines,
            "",
            "#endif",
            "",
        )
    )

"""The whole tree of constants, `ecgmoe_tables`, for a sampling rate and a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ecgmoe_edge.streaming import beat_builder, frontend
from ecgmoe_edge.streaming.c_tables import labels, qrs, signal
from ecgmoe_edge.streaming.c_tables.render import Constants
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.signal.flatline import FLAT_S
from ecgmoe_edge.streaming.signal.mains import AUTO, MainsChoice
from ecgmoe_edge.streaming.signal.quality import POOR_QUALITY
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, RPEAK_GRID, WindowSampler


def tables(
    fs: float,
    *,
    mains: MainsChoice = AUTO,
    invert: bool = False,
    peaks_only: bool = False,
    classes: Mapping[str, Sequence[str]] | None = None,
    outputs: Mapping[str, int] | None = None,
    rule: DecisionRule | None = None,
    limits: RhythmLimits | None = None,
) -> Constants:
    """Return `ecgmoe_tables`.

    Args:
        fs: sampling rate, Hz.
        mains: as in `FrontEnd`.
        invert: whether to invert all leads.
        peaks_only: neither windows nor features are wanted.
        classes: classes of each task of the model; None without one.
        outputs: number of values of each output of the model for one lead, in the order of the outputs.
        rule: constants of the decision rules.
        limits: limits of the rhythm alarms.
    """
    grid = RPEAK_GRID if peaks_only else BEAT_GRID
    return {
        "fs": fs,
        "signal": signal.constants(fs, grid=grid, notch=mains, invert=invert),
        "candidates": qrs.candidates_constants(fs),
        "detector": qrs.detector_constants(fs),
        "builder": {
            "after": WindowSampler(fs, grid).after,
            "good": beat_builder.GOOD,
            "poor": POOR_QUALITY,
            "no_ecg_factor": beat_builder.NO_ECG_FACTOR,
        },
        "lead_history": labels.lead_history_constants(),
        "rr": labels.rr_history_constants(fs),
        "silence": labels.silence_constants(fs, limits),
        "unusable": labels.unusable_constants(fs),
        "front_end": {
            "edge": round(frontend.EDGE_S * fs),
            "t_wave": round(frontend.T_WAVE_S * fs),
            "flat": round(FLAT_S * fs),
        },
        "features": labels.features_constants(),
        "labeller": labels.labeller_constants(fs, classes or {}, outputs or {}, rule, limits),
        "totals": labels.totals_constants(fs),
    }

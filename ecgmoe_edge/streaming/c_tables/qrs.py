"""Constants of the C detector of R peaks, taken from the Python objects; in the order of the C structs."""

from __future__ import annotations

import math

import numpy as np

from ecgmoe_edge.streaming.c_tables.render import Constants
from ecgmoe_edge.streaming.qrs import candidates, detector, lead_memory, lead_panel, rating
from ecgmoe_edge.streaming.qrs.weights import QRS_NETWORK
from ecgmoe_edge.streaming.signal.filters import CausalFilter
from ecgmoe_edge.streaming.signal.history import History


def sizes() -> dict[str, int]:
    """Return the lengths of arrays that depend on times, in ms, rounded up."""
    return {
        "ECGMOE_ENERGY_MS": _milliseconds(candidates.ENERGY_S),
        "ECGMOE_BACKGROUND_MS": _milliseconds(candidates.BACKGROUND_S),
        "ECGMOE_DOMINANCE_MS": _milliseconds(candidates.DOMINANCE_S),
        "ECGMOE_HALF_QRS_MS": _milliseconds(candidates.HALF_QRS_S),
    }


def candidates_constants(fs: float) -> Constants:
    """Return `ecgmoe_candidates_constants` for a sampling rate in Hz."""
    finder = candidates.CandidateFinder(fs, History(1))
    return {
        "bands": [_band_constants(band) for band in finder.bands],
        "fs": fs,
        "width": finder.width,
        "block": finder.background,
        "reach": finder.reach,
        "half": finder.half,
        "longest": round(candidates.LONGEST_QRS_S * fs),
        "seen": round(candidates.SEEN_S * fs),
        "waveform": finder.waveform.tolist(),
        "floor_mv_s": candidates.FLOOR_MV_S,
        "first_share": candidates.FIRST_SHARE,
        "long_share": candidates.LONG_SHARE,
        "tiny": candidates.TINY,
        "least_norm": candidates.LEAST_NORM,
        "unknown_following": candidates.UNKNOWN_FOLLOWING,
    }


def detector_constants(fs: float) -> Constants:
    """Return `ecgmoe_detector_constants` for a sampling rate in Hz."""
    return {
        "rating": _rating_constants(fs),
        "lead": _lead_memory_constants(),
        "panel": {
            "assumed_following": lead_panel.ASSUMED_FOLLOWING,
            "not_shown": lead_panel.NOT_SHOWN,
            "as_clear": lead_panel.AS_CLEAR,
        },
        "fs": fs,
        "reach": round(candidates.DOMINANCE_S * fs),
        # A whole number of samples is less than x if it is less than x rounded up.
        "refractory": math.ceil(detector.REFRACTORY_S * fs),
        "least_rr": math.ceil(detector.LEAST_RR_S * fs),
        "same_beat": round(detector.SAME_BEAT_S * fs),
        "learning_for": round(detector.LEARNING_S * fs),
        "silence": round(detector.SILENCE_S * fs),
        "ecg_within": round(detector.NO_ECG_S * fs),
        "sure": detector.SURE,
        "search_back_rr": detector.SEARCH_BACK_RR,
        "search_back_log_odds": detector.SEARCH_BACK_LOG_ODDS,
        "silence_log_odds": detector.SILENCE_LOG_ODDS,
        "most_silences": detector.MOST_SILENCES,
    }


def _band_constants(band: CausalFilter) -> Constants:
    """Return `ecgmoe_qrs_band_constants`."""
    ((numerator, denominator),) = band.stages  # a band-pass of order 2 is one stage of order 4
    gain = float(band.sos[0, 0])
    zeros = sorted(band.sos[:, 1] / band.sos[:, 0])  # scipy may have put the zeros at 1 into the first section
    if numerator[1] or numerator[3] or zeros != [-2.0, 2.0] or denominator[0] != 1.0:
        raise ValueError("the band-passes of the candidates do not have the form that ecgmoe_qrs_bands.h computes")
    # Delta form, see ecgmoe_filters.h.
    delta = np.stack((2.0 + band.sos[:, 4], 1.0 + band.sos[:, 4] + band.sos[:, 5]), axis=1)  # (sections, 2)
    level = 4.0 * gain / delta[0, 1]  # output of the first section for a constant input of 1
    return {
        "b0": numerator[0],
        "b2": numerator[2],
        "b4": numerator[4],
        "a": denominator[1:],
        "rest": band.rest[0],
        "gain": gain,
        "four_gains": 4.0 * gain,
        "first": delta[0],
        "second": delta[1],
        "sections_rest": [level - gain, delta[0, 0] * level - 4.0 * gain, -level, 0.0],
    }


def _rating_constants(fs: float) -> Constants:
    return {
        "network": {
            "weights": QRS_NETWORK.weights,
            "bias": QRS_NETWORK.bias,
            "out": QRS_NETWORK.out,
            "out_bias": QRS_NETWORK.out_bias,
        },
        "fs": fs,
        "least_share": rating.LEAST_SHARE,
        "loud": rating.LOUD,
        "usual_contrast": rating.USUAL_CONTRAST,
        "usual_rr_s": rating.USUAL_RR_S,
        "usual_spread": rating.USUAL_SPREAD,
        "usual_deviation": rating.USUAL_DEVIATION,
        "usual_correlation": rating.USUAL_CORRELATION,
        "t_wave_s": rating.T_WAVE_S,
        "early_s": rating.EARLY_S,
        "longest_s": rating.LONGEST_S,
        "most_spread": rating.MOST_SPREAD,
        "most_over_others": rating.MOST_OVER_OTHERS,
        "least_rr_share": rating.LEAST_RR_SHARE,
        "most_log_rr": rating.MOST_LOG_RR,
        "most_deviation": rating.MOST_DEVIATION,
        "least_following": rating.LEAST_FOLLOWING,
        "enough_beats": rating.ENOUGH_BEATS,
    }


def _lead_memory_constants() -> Constants:
    return {
        "largest_log_odds": lead_memory.LARGEST_LOG_ODDS,
        "same_kind": lead_memory.SAME_KIND,
        "alike": lead_memory.ALIKE,
        "same_waveform": lead_memory.SAME_WAVEFORM,
        "full_contrast": lead_memory.FULL_CONTRAST,
        "steep": lead_memory.STEEP,
        "least_weight": lead_memory.LEAST_WEIGHT,
        "usual_contrast": lead_memory.USUAL_CONTRAST,
        "forgotten": lead_memory.FORGOTTEN,
        "noisy_below": lead_memory.NOISY_BELOW,
        "clear_above": lead_memory.CLEAR_ABOVE,
        "newest_share": lead_memory.NEWEST_SHARE,
        "recurs": lead_memory.RECURS,
        "same": lead_memory.SAME,
        "stands_out": lead_memory.STANDS_OUT,
        "quiet_beside": lead_memory.QUIET_BESIDE,
        "fastest_s": lead_memory.FASTEST_S,
        "slowest_s": lead_memory.SLOWEST_S,
        "floor_mv_s": candidates.FLOOR_MV_S,
        "waves": lead_memory.WAVES,
        "loud_beats": lead_memory.LOUD_BEATS,
        "fewest_shifts": lead_memory.FEWEST_SHIFTS,
        "enough_credit": lead_memory.ENOUGH_CREDIT,
        "most_credit": lead_memory.MOST_CREDIT,
    }


def _milliseconds(seconds: float) -> int:
    return math.ceil(1000.0 * seconds - 1e-9)  # 1e-9: 1000 times 0.15 is not exactly 150

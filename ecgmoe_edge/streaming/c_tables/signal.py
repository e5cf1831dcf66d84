"""Constants of the signal's stages: intake, filters, mains hum, flatline, quality and beat windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.signal import bridge, filters, flatline, lead, mains, pacing, quality, windows
from ecgmoe_edge.streaming.unusable import LARGEST_MV

_FILTER_SECTIONS = 3  # the monitoring band with a constant notch
_NOTHING = {"numerator": [0.0] * 5, "denominator": [0.0] * 5, "rest": [0.0] * 4}
_NO_SECTION = {"b0": 0.0, "b1": 0.0, "b2": 0.0, "a1": 0.0, "a2": 0.0}


def sizes() -> dict[str, int]:
    """Return the macros of `ecgmoe_sizes.h` that the signal's stages need."""
    return {
        "ECGMOE_FILTER_SECTIONS": _FILTER_SECTIONS,
        "ECGMOE_HOLE_MS": _milliseconds(bridge.LONGEST_S),
        "ECGMOE_SPIKE_MS": _milliseconds(pacing.WIDTH_S),
        "ECGMOE_SPIKE_QUIET_MS": _milliseconds(pacing.QUIET_S),
        "ECGMOE_COMPLEX_END_MS": _milliseconds(pacing.COMPLEX_END_S),
        "ECGMOE_TAIL_TIMES": len(pacing.TAIL_TIMES_S),
        "ECGMOE_HUMS": len(mains.HUMS),
        "ECGMOE_HUM_PARTS": mains.PARTS,
        "ECGMOE_STEP_MS": _milliseconds(max(*lead.STEP_S, *lead.BESIDE_S)),
        "ECGMOE_HUM_BLOCK_MS": _milliseconds(mains.PARTS * mains.PART_S),
        "ECGMOE_SEARCH_BACK_MS": _milliseconds(lead.SEARCH_BACK_S),
        "ECGMOE_BEFORE_MS": _milliseconds(-float(windows.BEAT_GRID[0]) / windows.MODEL_RATE_HZ),
        "ECGMOE_QUALITY_BEGIN": quality.BEGIN,
        "ECGMOE_QUALITY_P_END": quality.P_END,
        "ECGMOE_QUALITY_P_HALF": quality.P_HALF,
        "ECGMOE_QUALITY_NEAR_R": quality.NEAR_R,
        "ECGMOE_QUALITY_MEDIAN": quality.AMPLITUDE_BEATS,
    }


def constants(
    fs: float,
    *,
    grid: NDArray[np.int64] = windows.BEAT_GRID,
    notch: mains.MainsChoice = mains.AUTO,
    invert: bool = False,
) -> dict[str, Any]:
    """Return the members of `ecgmoe_signal_constants`.

    Args:
        fs: sampling rate, Hz.
        grid: points of a beat window at 128 Hz, counted from R; at most as many as `BEAT_GRID`.
        notch: as the argument `mains` of `LeadSignal`.
        invert: whether to invert the signal.

    Raises:
        SignalError: `notch` is none of these.
    """
    signal = lead.LeadSignal(0, fs, grid, mains=notch, invert=invert)
    return {
        "intake": {
            "bridge": {"longest": bridge.HoleBridge(fs, 1, LARGEST_MV).longest, "largest_mv": LARGEST_MV},
            "pacing": _pacing_constants(fs),
        },
        "lead": {
            "fs": fs,
            "sign": signal.sign,
            "model_rate_hz": windows.MODEL_RATE_HZ,
            "step_near": signal.step[0],
            "step_far": signal.step[1],
            "beside_near": signal.beside[0],
            "beside_far": signal.beside[1],
            "straight": lead.STRAIGHT,
            "plateau": lead.PLATEAU,
            "level_share": lead.LEVEL_SHARE,
            "after_spike": signal.after_spike,
            "complex_end": signal.complex_end,
            "spike_reach": signal.spike_reach,
            "tail": signal.tail,
            "near": signal.near,
            "examined_before": signal.examined[0],
            "examined_after": signal.examined[1],
            "band": filter_constants(signal.band),
            "mains": _mains_constants(fs, notch),
            "flatline": _flatline_constants(fs),
            "quality": _quality_constants(),
            "tails": _tail_constants(fs),
            "window": window_constants(signal.window, grid),
        },
    }


def filter_constants(band: filters.CausalFilter) -> dict[str, Any]:
    """Return the members of `ecgmoe_filter_constants` of a band-pass, padded to the largest filter."""
    stages = [
        {"numerator": _padded(numerator, 5), "denominator": _padded(denominator, 5), "rest": _padded(rest, 4)}
        for (numerator, denominator), rest in zip(band.stages, band.rest, strict=True)
    ]
    sections = []
    for b0, b1, b2, _, a1, a2 in band.sos.tolist():
        # In powers of (z - 1): the coefficients of a pole or a zero close to z = 1 are small.
        sections.append({"b0": b0, "b1": 2.0 * b0 + b1, "b2": b0 + b1 + b2, "a1": 2.0 + a1, "a2": 1.0 + a1 + a2})
    return {
        "n_stages": len(stages),
        "n_sections": len(sections),
        "stages": stages + [_NOTHING] * ((_FILTER_SECTIONS + 1) // 2 - len(stages)),
        "sections": sections + [_NO_SECTION] * (_FILTER_SECTIONS - len(sections)),
    }


def window_constants(sampler: windows.WindowSampler, grid: NDArray[np.int64]) -> dict[str, Any]:
    """Return the members of `ecgmoe_window_constants`, padded to `BEAT_GRID.size` points."""
    missing = windows.BEAT_GRID.size - sampler.size
    return {
        "points": sampler.size,
        "r_index": int(np.flatnonzero(grid == 0)[0]),
        "before": sampler.before,
        "after": sampler.after,
        "weights": np.pad(sampler.weights.T, ((0, missing), (0, 0))).tolist(),
        "first": np.pad(sampler.index[0] - sampler.before, (0, missing)).tolist(),
    }


def _pacing_constants(fs: float) -> dict[str, Any]:
    spikes = pacing.SpikeFilter(0, fs)
    return {
        "enabled": fs >= pacing.LEAST_RATE_HZ,
        "width": spikes.width,
        "quiet": spikes.quiet,
        "least_step_mv": pacing.LEAST_STEP_MV,
        "contrast": pacing.CONTRAST,
        "back_same_side": pacing.BACK_SAME_SIDE,
        "back_opposite_side": pacing.BACK_OPPOSITE_SIDE,
    }


def _tail_constants(fs: float) -> dict[str, Any]:
    return {
        "fs": fs,
        "times_s": list(pacing.TAIL_TIMES_S),
        "rest": pacing.TAIL_REST,
        "complex_begin_s": pacing.COMPLEX_S[0],
        "complex_end_s": pacing.COMPLEX_S[1],
        "complex_step_s": pacing.COMPLEX_STEP_S,
        "bell_s": pacing.BELL_S,
        "large_tail": pacing.LARGE_TAIL,
        "fit_rest": pacing.FIT_REST,
    }


def _mains_constants(fs: float, notch: mains.MainsChoice) -> dict[str, Any]:
    automatic, part = isinstance(notch, str), mains.HumDetector(fs).part
    impossible = isinstance(notch, int) and notch >= filters.HIGHEST_NOTCH * fs
    return {
        "automatic": automatic,
        "impossible_hz": float(notch) if impossible and isinstance(notch, int) else 0.0,
        "fs": fs,
        "part": part,
        "off_blocks": mains.OFF_BLOCKS,
        "off_share": mains.OFF_SHARE,
        "least_mv": mains.LEAST_MV,
        "notch_q": filters.NOTCH_Q,
        "hums": [_hum_constants(fs, part, hum) for hum in mains.HUMS],
    }


def _hum_constants(fs: float, part: int, hum: mains.HumLimits) -> dict[str, Any]:
    angle = 2.0 * math.pi * hum.frequency_hz / fs
    return {
        "frequency_hz": hum.frequency_hz,
        "nominal_hz": round(hum.frequency_hz, 1),
        "off_hz": hum.off_hz,
        "share": hum.share,
        "steadiness": hum.steadiness,
        "twice_cos": 2.0 * math.cos(angle),
        "turn_re": math.cos(angle),
        "turn_im": math.sin(angle),
        "back_re": math.cos(angle * part),
        "back_im": -math.sin(angle * part),
        "blocks": hum.blocks,
        "measured": hum.frequency_hz < mains.HIGHEST_MEASURED * fs,
        "possible": hum.frequency_hz < filters.HIGHEST_NOTCH * fs,
    }


def _flatline_constants(fs: float) -> dict[str, Any]:
    detector = flatline.FlatlineDetector(fs)
    return {
        "flat": detector.flat,
        "report_after": detector.report_after,
        "shortest": detector.shortest,
        "seen_enough": detector.seen_enough,
        "steep_mv": flatline.STEEP_MV,
        "no_ecg_mv": flatline.NO_ECG_MV,
    }


def _quality_constants() -> dict[str, Any]:
    return {
        "end": quality.END,
        "lag": quality.LAG,
        "fewest_points": quality.FEWEST_POINTS,
        "roughness": quality.ROUGHNESS,
        "motion": quality.MOTION,
        "offset": quality.OFFSET,
        "least_ratio": quality.LEAST_RATIO,
        "little_roughness_mv": quality.LITTLE_ROUGHNESS_MV,
        "little_motion_mv": quality.LITTLE_MOTION_MV,
        "newest_share": quality.NEWEST_SHARE,
        "poor_logit": quality.POOR_LOGIT,
        "clipped": quality.CLIPPED,
        "small": quality.SMALL,
        "fewest_beats": quality.FEWEST_BEATS,
        "p_wave_mv": quality.P_WAVE_MV,
        "slope_lag": quality.SLOPE_LAG,
        "slow": quality.SLOW,
        "p_alike": quality.P_ALIKE,
        "p_scale": quality.P_SCALE,
        "p_margin": quality.P_MARGIN,
        "newest_mean_share": 1.0 - quality.MEAN_KEEPS,
        "most_p_waves": quality.MOST_P_WAVES,
    }


def _padded(numbers: NDArray[np.float64], length: int) -> list[float]:
    values: list[float] = numbers.tolist()
    return values + [0.0] * (length - len(values))


def _milliseconds(seconds: float) -> int:
    """Return milliseconds, rounded up; a rounding error of the product does not count."""
    return math.ceil(round(1000.0 * seconds, 6))

"""Weights of the network that rates candidates for an R peak, and what its inputs are.

16 inputs, 16 hidden units (tanh), one output: ln of the odds that the candidate is a beat. Fitted on DS1 and `svdb-fit`
by `python -m ecgmoe_edge.training.rpeak_weights`, which writes this file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INPUTS = (
    "energy",  # ln energy over the median of recent beats
    "drop",  # the same over the last beat, if negative, fading until 0.45 s after it
    "over_others",  # ln energy over the median of recent candidates that were no beats
    "rr",  # ln time since the last beat over the recent median RR
    "early",  # 1 at the last beat, 0 from 0.40 s after it on
    "deviation",  # how far `rr` is from 0
    "spread",  # standard deviation of recent ln RR
    "since",  # s since the last beat
    "alike",  # correlation of the waveform with the most alike of the recent beats
    "alike_middle",  # and with the middle one
    "ahead",  # ln of the largest energy 150 to 300 ms later over its own
    "slow",  # ln of slope in 1-5 Hz over energy
    "fast",  # ln of slope in 18-40 Hz over energy
    "valley",  # ln of the shallower of the valleys at either side over energy
    "deeper_valley",  # and of the deeper one
    "background",  # ln of the last second's mean energy over energy
)


@dataclass(frozen=True)
class QrsNetwork:
    """out @ tanh(inputs @ weights + bias) + out_bias."""

    weights: NDArray[np.float64]  # (inputs, hidden)
    bias: NDArray[np.float64]  # (hidden,)
    out: NDArray[np.float64]  # (hidden,)
    out_bias: float


_TABLE = """
energy         -0.09  0.42 -1.29 -0.76  0.13 -0.04 -0.13 -0.66  0.35  0.23  0.11  0.14 -0.59 -0.51 -1.23  0.37
drop           -0.18  1.18 -1.55 -1.93  0.87 -0.19  0.02  0.89  0.03 -0.61 -0.54 -1.56  0.12  0.95 -0.37  0.80
over_others    -0.17  0.06  0.12  0.25  0.10  0.24  0.17  0.27 -0.39  0.14 -1.32 -0.20 -0.31 -0.15 -0.46 -0.47
rr             -1.47  0.70 -0.87 -0.04 -0.22 -0.55 -0.44  0.26  0.83 -0.74 -0.97  0.15 -0.11 -0.64 -0.30 -0.03
early          -1.12 -3.13 -2.26  2.78  0.70  3.43  0.88 -2.06 -1.77 -2.45  3.62  4.38 -4.76 -0.80  0.75 -0.30
deviation       2.27  0.41 -1.69 -0.62  0.28  2.33  6.38  0.33  0.96  0.14  0.12 -0.67 -0.03 -0.07 -0.98 -0.42
spread        -11.41  0.63 -0.35  1.38 -0.17  2.56  4.82 -0.99  1.14 -0.88  0.68 -0.34 -0.25  0.36 -0.85  0.13
since           0.48  0.12 -0.83  0.45  0.20 -0.06  1.18 -0.95  1.12  0.66  1.86 -0.07  1.44  0.69  0.65 -0.32
alike          -0.27 -0.06 -0.12 -0.38  2.66  0.40 -0.11 -0.68 -0.20 -0.08 -0.13  2.48  0.04  0.12  0.72 -0.48
alike_middle   -0.13 -0.01  0.24 -0.25  2.80 -0.57 -0.15  0.53  0.32 -0.03 -0.05 -0.33  0.13 -1.66 -0.23 -0.10
ahead           0.49  1.45 -0.59  0.76 -0.07  0.22  0.03 -0.30  0.31  0.08  0.03 -0.06 -1.26  0.13 -0.03 -0.44
slow           -0.01 -0.86 -0.69  1.00 -0.61  0.24 -0.26 -0.35 -2.03 -0.48 -0.33 -0.86 -0.23 -1.02  0.15  1.48
fast           -0.05  0.57 -0.10  0.42  0.38  1.08 -0.78  0.02  0.86  0.33  0.01  0.49 -0.12  1.02 -1.55 -1.11
valley         -0.27 -0.06  0.17  0.38  0.24 -0.07 -0.24 -1.08 -0.51  0.58 -0.47 -0.64  0.65  0.72 -0.07 -0.36
deeper_valley  -0.04  0.42  0.22 -0.78  0.08  0.03  0.05 -0.51  0.43  1.17 -0.33  0.18 -0.21 -0.01 -0.04  0.55
background      0.20 -0.58  0.73  0.04 -0.49  0.67  0.05  0.23  0.58  0.35  0.68  0.11  0.14  0.32  0.40 -0.14
bias           -0.61  3.06 -1.08 -2.04 -5.89  1.19 -2.62 -2.94  0.29  1.77 -1.04 -3.75 -0.80  0.96 -2.05  4.91
out            -1.59  1.95 -1.54 -1.66  1.84 -1.14 -1.61  1.41 -1.62 -1.19 -1.43  1.35  1.43  1.63 -1.37  1.46
"""
_OUT_BIAS = -1.06

_ROWS = np.array([line.split()[1:] for line in _TABLE.strip().splitlines()], np.float64)
QRS_NETWORK = QrsNetwork(_ROWS[:-2].copy(), _ROWS[-2].copy(), _ROWS[-1].copy(), _OUT_BIAS)

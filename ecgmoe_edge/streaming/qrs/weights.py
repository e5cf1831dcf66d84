"""Inputs and weights of the network that rates candidates for an R peak.

It has 16 inputs, 16 hidden units (tanh) and one output: ln of the odds that the candidate is a beat. It was fitted on
DS1 and `svdb-fit` by `python -m ecgmoe_edge.training.rpeak_weights`, which writes the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INPUTS = (
    "energy",  # ln of energy over the median of the recent beats
    "drop",  # ln of energy over that of the last beat, if negative; its weight falls to 0 until 0.45 s after that beat
    "over_others",  # ln of energy over the median of the recent candidates that were no beats
    "rr",  # ln of the time since the last beat over the median of the recent RR intervals
    "early",  # falls from 1 at the last beat to 0 from 0.40 s after it on
    "deviation",  # absolute value of `rr`
    "spread",  # standard deviation of the recent ln RR
    "since",  # time since the last beat, s
    "alike",  # highest correlation of the waveform with the recent beats
    "alike_middle",  # middle one of these correlations
    "ahead",  # ln of the largest energy 150 to 300 ms later over its own
    "slow",  # ln of the mean |slope| in 1-5 Hz over energy
    "fast",  # ln of the mean |slope| in 18-40 Hz over energy
    "valley_before",  # ln of the lowest energy in the 150 ms before over energy
    "valley_after",  # ln of the lowest energy in the 150 ms after over energy
    "background",  # ln of the mean energy in the last second over energy
)


@dataclass(frozen=True)
class QrsNetwork:
    """A network that computes `out @ tanh(inputs @ weights + bias) + out_bias`."""

    weights: NDArray[np.float64]  # (inputs, hidden)
    bias: NDArray[np.float64]  # (hidden,)
    out: NDArray[np.float64]  # (hidden,)
    out_bias: float


_TABLE = """
energy        -0.98   0.14 -1.31  0.48 -0.54 -0.29 -0.09 -0.82 -0.16 -0.67 -0.15  0.09 -0.51 -0.40  0.06  0.24
drop          -1.43   0.21 -2.09 -1.16  0.23 -0.20 -0.06 -0.15  0.16 -1.24 -0.46  0.04  0.83  2.14  0.63  1.63
over_others   -0.06   0.20 -0.19 -0.27  0.20  0.51  0.11  0.35 -0.22  0.31 -1.16 -0.03 -0.49 -0.15  0.00 -0.42
rr            -0.73   1.37 -0.64 -0.19 -0.21 -0.82 -0.22 -0.22  0.80 -0.14 -1.30 -0.04 -0.01 -0.48  0.35  0.80
early          4.66   3.06 -3.26  9.54  0.85  1.18  1.62  3.54 -2.18  0.08  2.70  1.68 -4.90 -1.68 -0.86 -1.31
deviation     -1.56  -2.44 -1.20 -0.87 -0.48  3.36  5.53 -0.86  0.44 -0.14  1.10  0.01  0.56  0.36 -0.16 -0.44
spread        -0.33  11.03 -0.53  0.98 -0.77 -0.18  6.04 -2.14  0.13 -0.92  0.24 -0.24 -1.86  0.75 -0.26  1.29
since         -0.88  -0.14  0.84 -0.32  0.21 -2.16  1.01 -2.03  1.86  0.13  2.28  0.04  1.60  0.61 -0.21 -2.15
alike          0.05   0.12  0.41  0.70  1.91 -0.42  0.03 -0.11 -0.05 -0.14  0.13  2.60  0.05  0.22  0.18  0.68
alike_middle   0.05   0.22  0.24 -0.54  0.68 -0.13 -0.13 -0.09  0.22  0.37  0.15  3.15  0.31 -1.49  0.06  0.24
ahead         -0.99  -0.40 -0.27  0.37 -0.20  0.16  0.18 -0.66  0.38  1.07  0.03  0.01 -0.87  0.12  0.07  0.08
slow           0.32  -0.03 -0.32 -0.86 -0.50 -0.17 -0.33  0.34 -1.40 -0.52 -0.38 -0.44  0.04 -1.10  1.57  0.28
fast          -0.79   0.08 -0.44  0.07  0.59 -0.18 -0.46 -0.83  0.79 -0.12  0.20 -0.02 -0.16  0.80 -1.31 -1.25
valley_before -0.05   0.04 -0.18  0.21 -1.22 -0.03  0.03 -0.47  0.76 -0.15 -0.30  0.14 -0.33  0.37 -0.21 -0.06
valley_after  -0.11   0.25  0.31 -0.82  0.30  0.05 -0.35 -0.51 -0.87  0.56 -0.14 -0.17  0.19  0.51  0.45 -0.36
background     0.64  -0.16  0.32  1.43  0.34  0.42  0.23  0.21  0.03 -0.11  0.64 -0.44 -0.02  0.20 -0.40 -0.13
bias          -1.80   0.68 -2.56  0.82 -4.06  1.36 -2.57 -0.76 -0.27 -1.45 -1.72 -6.41 -1.03  1.22  1.60  2.05
out           -1.81   1.75 -1.97 -1.70  1.14 -0.90 -1.53  1.30 -1.30 -1.59 -1.50  1.88  1.04  1.86 -1.45  1.44
"""
_OUT_BIAS = -0.33

_ROWS = np.array([line.split()[1:] for line in _TABLE.strip().splitlines()], np.float64)
QRS_NETWORK = QrsNetwork(_ROWS[:-2].copy(), _ROWS[-2].copy(), _ROWS[-1].copy(), _OUT_BIAS)

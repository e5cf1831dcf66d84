"""Weights of the network that rates candidates for an R peak, and what its inputs are.

17 inputs, 16 hidden units (tanh), one output: ln of the odds that the candidate is a beat. Fitted on DS1 and `svdb-fit`
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
    "height",  # ln of the QRS band's largest deflection over energy
)


@dataclass(frozen=True)
class QrsNetwork:
    """out @ tanh(inputs @ weights + bias) + out_bias."""

    weights: NDArray[np.float64]  # (inputs, hidden)
    bias: NDArray[np.float64]  # (hidden,)
    out: NDArray[np.float64]  # (hidden,)
    out_bias: float


_TABLE = """
energy        -0.39   1.89  -1.36  -0.70   0.51 -0.11  0.62 -0.68 -0.44 -0.34  -1.27   0.86   0.56  2.94  0.52 -0.72
drop           2.54   1.00  -7.84   2.28   5.39 -6.02  4.29 -0.43 -2.43  0.54  -0.94 -11.91  -0.07  6.46 -3.91 -0.86
over_others   -0.43  -0.10  -1.10   0.26  -0.17 -0.05 -0.02  0.63 -0.12  0.38   1.13   0.29   0.88 -0.34 -0.52  2.45
rr            -4.05   1.88  -1.16   2.40  -1.20 -0.91  0.72  1.09 -0.93  0.34   3.53   0.53   1.64  0.15 -0.54  0.00
early         -0.12   2.90  16.23  -2.38  15.75  3.49 -0.03 -6.86  6.75 -1.94 -20.83   3.75  14.50 -2.09 -0.05 -7.38
deviation      1.41  -2.20  -2.32 -11.95   0.29 -1.06  0.22  8.98  0.75 -1.15   2.69  -1.09  -2.76  2.25  1.64  0.45
spread        -0.86  25.75   0.08 -20.55   1.44 -0.49 -0.73  0.68 -1.21  0.32   0.27   1.61   1.52 -1.67  0.24 -1.15
since          4.39   0.81  -1.77  -2.80   0.53  2.39 -2.42 -1.22 -0.03 -1.08  -4.47  -2.09  -1.37 -0.00  1.38 -1.46
alike         -0.22  -0.12  -0.33   0.03  -0.15  0.43  0.33  0.27 -0.24 -7.67  -1.24   0.10  -0.98  0.12  0.63  6.62
alike_middle   0.05   0.47   0.32   0.06   0.28 -0.28  1.90 -1.11 -0.07 -0.62   0.23  -0.90   0.51 -1.90 -0.90  0.39
ahead          0.64  -1.04  -2.31  -0.23   0.06 -3.84  0.01  0.57 -0.53  0.03  -0.59   0.98   0.60 -0.17  0.35  0.21
slow          -0.06   0.51  -0.97   0.64  -1.90  1.62  0.48 -0.10 -0.06  0.87   1.81  -1.14   0.67  1.70  1.17  0.80
fast          -0.13  -0.16  -1.32   1.15   2.00 -0.39 -0.50 -0.22 -1.52 -0.89   0.14  -0.05   1.48  1.10 -0.26  0.78
valley        -0.68   0.60  -0.84  -0.27   0.62  2.18 -1.24 -0.40 -0.67  0.30  -0.18  -1.85   1.39 -0.20  1.79  0.98
deeper_valley -0.47   0.06   0.14   0.21  -1.65 -1.06 -0.16 -0.37 -0.53  0.35   0.81  -0.04  -0.12 -0.05  0.55  0.75
background     0.91  -0.42   0.91  -0.10   0.87  0.23 -0.64  0.79  0.31 -0.66  -2.78   3.56  -1.73 -1.56 -1.49 -2.29
height        -1.41  -0.61   6.83   0.53  -2.65  0.63  6.94 -1.09  2.71 -0.46   3.11  -0.02  -2.93 -1.84 -3.49  2.62
bias          -6.61  -0.32   3.49   5.61  -6.53 -6.17  6.37 -2.65 -0.24  9.96   4.95   1.98  -1.70  2.91 -1.29 -2.58
out           -1.72   1.60  -1.46   1.93   1.68 -2.13 -2.23 -1.29  2.10 -2.61   1.33  -1.41  -1.11  2.16 -1.52  1.38
"""
_OUT_BIAS = 0.89

_ROWS = np.array([line.split()[1:] for line in _TABLE.strip().splitlines()], np.float64)
QRS_NETWORK = QrsNetwork(_ROWS[:-2].copy(), _ROWS[-2].copy(), _ROWS[-1].copy(), _OUT_BIAS)

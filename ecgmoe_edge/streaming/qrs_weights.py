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


# fmt: off
_WEIGHTS = (
    (-0.386, 1.889, -1.357, -0.699, 0.514, -0.107, 0.624, -0.683, -0.445, -0.339, -1.268, 0.859, 0.562, 2.935, 0.517, -0.718),  # energy
    (2.539, 1.005, -7.836, 2.279, 5.393, -6.020, 4.292, -0.434, -2.426, 0.542, -0.939, -11.910, -0.071, 6.462, -3.911, -0.860),  # drop
    (-0.432, -0.100, -1.097, 0.259, -0.172, -0.047, -0.025, 0.630, -0.119, 0.378, 1.133, 0.290, 0.882, -0.344, -0.521, 2.455),  # over_others
    (-4.045, 1.879, -1.157, 2.400, -1.200, -0.905, 0.722, 1.088, -0.929, 0.337, 3.529, 0.531, 1.640, 0.154, -0.541, 0.001),  # rr
    (-0.125, 2.898, 16.231, -2.382, 15.747, 3.485, -0.029, -6.860, 6.752, -1.940, -20.826, 3.746, 14.501, -2.086, -0.049, -7.376),  # early
    (1.409, -2.204, -2.322, -11.950, 0.290, -1.063, 0.216, 8.975, 0.752, -1.146, 2.694, -1.092, -2.760, 2.247, 1.639, 0.448),  # deviation
    (-0.856, 25.752, 0.077, -20.550, 1.441, -0.493, -0.733, 0.675, -1.212, 0.323, 0.266, 1.613, 1.521, -1.671, 0.235, -1.152),  # spread
    (4.394, 0.812, -1.769, -2.802, 0.527, 2.395, -2.417, -1.220, -0.030, -1.078, -4.472, -2.087, -1.371, -0.001, 1.378, -1.459),  # since
    (-0.220, -0.122, -0.329, 0.033, -0.153, 0.430, 0.326, 0.273, -0.240, -7.670, -1.245, 0.105, -0.983, 0.118, 0.626, 6.616),  # alike
    (0.046, 0.473, 0.317, 0.062, 0.284, -0.278, 1.896, -1.109, -0.068, -0.622, 0.232, -0.896, 0.511, -1.901, -0.895, 0.387),  # alike_middle
    (0.642, -1.038, -2.311, -0.229, 0.056, -3.837, 0.005, 0.566, -0.528, 0.034, -0.591, 0.978, 0.597, -0.167, 0.349, 0.209),  # ahead
    (-0.057, 0.509, -0.965, 0.639, -1.895, 1.620, 0.483, -0.096, -0.061, 0.874, 1.810, -1.137, 0.674, 1.705, 1.175, 0.799),  # slow
    (-0.125, -0.156, -1.322, 1.155, 2.001, -0.394, -0.503, -0.224, -1.523, -0.894, 0.144, -0.049, 1.482, 1.102, -0.261, 0.776),  # fast
    (-0.681, 0.603, -0.843, -0.267, 0.624, 2.184, -1.236, -0.399, -0.673, 0.301, -0.176, -1.847, 1.390, -0.197, 1.792, 0.976),  # valley
    (-0.469, 0.061, 0.143, 0.214, -1.652, -1.056, -0.156, -0.365, -0.530, 0.349, 0.811, -0.042, -0.116, -0.049, 0.548, 0.755),  # deeper_valley
    (0.907, -0.425, 0.909, -0.102, 0.872, 0.234, -0.640, 0.787, 0.305, -0.660, -2.785, 3.561, -1.731, -1.562, -1.489, -2.294),  # background
    (-1.413, -0.612, 6.825, 0.528, -2.650, 0.628, 6.939, -1.085, 2.714, -0.461, 3.113, -0.016, -2.930, -1.837, -3.494, 2.621),  # height
)
_BIAS = (-6.608, -0.321, 3.495, 5.614, -6.532, -6.173, 6.374, -2.652, -0.243, 9.963, 4.948, 1.984, -1.703, 2.905, -1.289, -2.579)
_OUT = (-1.721, 1.597, -1.459, 1.928, 1.683, -2.131, -2.233, -1.294, 2.098, -2.614, 1.332, -1.407, -1.109, 2.164, -1.519, 1.382)
_OUT_BIAS = 0.894
# fmt: on

QRS_NETWORK = QrsNetwork(np.array(_WEIGHTS), np.array(_BIAS), np.array(_OUT), _OUT_BIAS)

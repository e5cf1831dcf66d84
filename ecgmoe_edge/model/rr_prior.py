"""Mean RR interval of the 10 s context, measured without any trained weights from the inputs of the teacher.

The RR sequence contains each RR interval relative to the patient's median RR, which is not an input. The context shows
the R peaks on a time axis. The measurement has two steps:

1. For each candidate of the median, the RR sequence predicts the positions of the R peaks before the beat: a comb with
   unequal spacing. The median whose comb falls on the steepest parts of the context is taken.
2. From the beat backwards, the R peak nearest to each predicted position is found in the context. The time between the
   first and the last of these peaks, divided by the number of intervals, is the mean RR.

The RR head of the teacher corrects what this measurement gets wrong.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as fn

from ecgmoe_edge.streaming.signal.windows import MODEL_RATE_HZ, WIDE_GRID

#: Candidates of the median RR, s: heart rates of 20 to 300 beats a minute, in steps of 0.8 %.
_MEDIANS_S = torch.exp(torch.arange(torch.tensor(0.2).log().item(), torch.tensor(3.0).log().item(), 0.008))
# A weak preference for usual medians, among those whose combs fit equally well.
_USUAL_S = 0.8
_SPREAD = 1.2  # standard deviation of the preference, on a logarithmic scale
_COMB = 16  # number of intervals in the comb
_WALK = 32  # largest number of intervals in step 2
# A peak is searched around its predicted position within the larger of these two limits.
_REACH = 0.10  # fraction of the predicted interval
_REACH_S = 0.04
_R = 1279 - int(WIDE_GRID[-1])  # sample of the context at which the R peak of the beat lies


def mean_rr(context: Tensor, rr_sequence: Tensor) -> Tensor:
    """Measure the mean RR interval of each context. No gradient passes.

    Args:
        context: the last 10 s at 128 Hz, (b, leads, 1280), ending with the beat window; only the first lead is used.
        rr_sequence: log ratios of the RR intervals to the patient's median RR, and their mask; (b, 2, 32), newest last.

    Returns:
        Mean RR interval in s, fit of the comb (0 to 1), and fraction of the context that the found peaks cover (0 to
        1); (b, 3). All three are zero if no RR interval is known.
    """
    with torch.no_grad():
        steep = _steepness(context[:, 0])
        ratio = rr_sequence[:, 0].flip(1).exp()  # newest first
        known = (rr_sequence[:, 1].flip(1) > 0.5).cumprod(1).bool()  # the newest intervals, up to the first unknown
        median, fit = _best_median(steep, ratio, known)
        first, intervals = _earliest_peak(steep, ratio * median[:, None] * MODEL_RATE_HZ, known)
        mean = (_R - first) / intervals.clamp(min=1) / MODEL_RATE_HZ
        return torch.stack([mean, fit, (_R - first) / _R], 1) * (intervals > 0)[:, None]


def _steepness(x: Tensor) -> Tensor:
    """Energy of the slope of x (b, n), smoothed, each row with a mean of 1: high at a QRS, low elsewhere."""
    slope = fn.pad((x[:, 2:] - x[:, :-2]).square(), (1, 1))
    energy = fn.avg_pool1d(slope[:, None], 9, 1, 4)[:, 0].sqrt()
    return energy / energy.mean(1, keepdim=True).clamp(min=1e-6)


def _best_median(steep: Tensor, ratio: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Step 1: the patient's median RR in s, (b,), and the fit of its comb, (b,).

    The fit is the mean steepness at the positions of the comb, divided by the largest steepness of the context.
    """
    medians = _MEDIANS_S.to(steep)
    preference = torch.exp(-0.5 * ((medians / _USUAL_S).log() / _SPREAD).square())
    back = (ratio * known)[:, :_COMB].cumsum(1)  # (b, comb): distance from the beat, in units of the median
    at = _R - back[:, None] * medians[None, :, None] * MODEL_RATE_HZ  # (b, medians, comb): sample of the context
    inside = known[:, None, :_COMB] & (at >= 0)
    wide = fn.max_pool1d(steep[:, None], 7, 1, 3)[:, 0]
    hit = wide.gather(1, at.clamp(0).round().long().flatten(1)).reshape(at.shape) * inside
    count = inside.sum(2).clamp(min=1)
    # The square root makes half of the true median lose (the same peaks with twice as many positions) and also twice of
    # it (half of the peaks).
    index = (hit.sum(2) / count.sqrt() * preference).argmax(1, keepdim=True)
    height = (hit.sum(2) / count).gather(1, index)[:, 0]
    return medians[index[:, 0]], (height / wide.amax(1).clamp(min=1e-6)).clamp(0.0, 1.0)


def _earliest_peak(steep: Tensor, expected: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Step 2: sample of the earliest R peak that is found, (b,), and the number of intervals from it to the beat, (b,).

    Args:
        steep: steepness of the context, (b, 1280).
        expected: RR intervals that the RR sequence predicts, in samples, newest first, (b, 32).
        known: whether each interval is known, (b, 32).
    """
    rows = torch.arange(len(steep), device=steep.device)
    here = torch.full_like(steep[:, 0], _R)
    intervals = torch.zeros_like(here)
    going = torch.ones_like(here, dtype=torch.bool)
    reach = torch.arange(-32, 33, device=steep.device)
    for step in range(_WALK):
        guess = here - expected[:, step]
        allowed = torch.maximum(_REACH * expected[:, step], here.new_tensor(_REACH_S * MODEL_RATE_HZ))
        place = guess.round().long()[:, None] + reach
        usable = (reach.abs() <= allowed[:, None]) & (place >= 0) & (place <= _R)
        height = torch.where(usable, steep[rows[:, None], place.clamp(0, _R)], steep.new_tensor(-1.0))
        peak = place.gather(1, height.argmax(1, keepdim=True))[:, 0].to(here)
        going = going & known[:, step] & usable.any(1) & (guess >= 0)
        here = torch.where(going, peak, here)
        intervals = intervals + going
        if not going.any():
            break
    return here, intervals

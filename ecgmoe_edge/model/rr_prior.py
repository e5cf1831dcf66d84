"""Mean RR interval of the context, read from what the teacher is given: log RR ratios and the waveform, no weights.

The RR sequence knows the rhythm up to one unknown, the wearer's median RR; the context holds the R peaks on a time
axis. The median is the one whose comb of R peaks, spaced as the sequence says, lies on the steepest parts of the
context; a walk from peak to peak then reads the intervals off the waveform. The network corrects what is left.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as fn

from ecgmoe_edge.streaming.signal.windows import MODEL_RATE_HZ, WIDE_GRID

#: Median RR intervals that are tried, s: 20 to 300 beats a minute in steps of 0.8 %.
_MEDIANS_S = torch.exp(torch.arange(torch.tensor(0.2).log().item(), torch.tensor(3.0).log().item(), 0.008))
_USUAL_S, _SPREAD = 0.8, 1.2  # centre and log spread of a weak preference among combs that fit alike
_COMB = 16  # intervals before the beat that the comb has
_WALK = 32  # intervals that the walk may take
_REACH = 0.10  # of an interval: how far from its place in the comb a peak is looked for, at least ...
_REACH_S = 0.04  # ... so many seconds
_R = 1279 - int(WIDE_GRID[-1])  # sample of the context at which the beat's R peak lies


def mean_rr(context: Tensor, rr_sequence: Tensor) -> Tensor:
    """Mean RR interval in s, how well the comb fits (0..1), and the share of the context walked (0..1): (b, 3).

    Args:
        context: the last 10 s at 128 Hz, (b, leads, 1280); the first lead is read. It ends with the beat window.
        rr_sequence: log RR ratios to the wearer's median and their mask, (b, 2, 32), newest last.

    Where no interval is known all three are zero. Nothing here is trained, and no gradient passes.
    """
    with torch.no_grad():
        steep = _steepness(context[:, 0])
        ratio = rr_sequence[:, 0].flip(1).exp()  # newest first
        known = (rr_sequence[:, 1].flip(1) > 0.5).cumprod(1).bool()  # up to the first break
        median, fit = _best_median(steep, ratio, known)
        first, intervals = _walk(steep, ratio * median[:, None] * MODEL_RATE_HZ, known)
        found = intervals > 0
        mean = (_R - first) / intervals.clamp(min=1) / MODEL_RATE_HZ
        return torch.stack([mean, fit, (_R - first) / _R], 1) * found[:, None]


def _steepness(x: Tensor) -> Tensor:
    """Energy of the slope over 5 samples, (b, n), each row with a mean of 1: high on a QRS, low elsewhere."""
    slope = fn.pad((x[:, 2:] - x[:, :-2]).square(), (1, 1))
    energy = fn.avg_pool1d(slope[:, None], 9, 1, 4)[:, 0].sqrt()
    return energy / energy.mean(1, keepdim=True).clamp(min=1e-6)


def _best_median(steep: Tensor, ratio: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The wearer's median RR in s, (b,), and the mean height of its comb over the highest, (b,)."""
    medians = _MEDIANS_S.to(steep)
    usual = torch.exp(-0.5 * ((medians / _USUAL_S).log() / _SPREAD).square())
    back = (ratio * known)[:, :_COMB].cumsum(1)  # (b, comb) in medians
    at = _R - back[:, None] * medians[None, :, None] * MODEL_RATE_HZ  # (b, medians, comb)
    inside = known[:, None, :_COMB] & (at >= 0)
    wide = fn.max_pool1d(steep[:, None], 7, 1, 3)[:, 0]
    hit = wide.gather(1, at.clamp(0).round().long().flatten(1)).reshape(at.shape) * inside
    count = inside.sum(2).clamp(min=1)
    # Half of the true median hits as many peaks with twice the places, twice of it half of them: both lose.
    index = (hit.sum(2) / count.sqrt() * usual).argmax(1, keepdim=True)
    height = (hit.sum(2) / count).gather(1, index)[:, 0]
    return medians[index[:, 0]], (height / wide.amax(1).clamp(min=1e-6)).clamp(0.0, 1.0)


def _walk(steep: Tensor, expected: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The earliest R peak that a walk back through the context reaches, (b,), and the intervals to it, (b,)."""
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

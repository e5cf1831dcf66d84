"""Lines of `export` and `inspect` about the multiplications of a beat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecgmoe_edge.runtime.manifest import BeatMacs


def macs_lines(macs: BeatMacs | None) -> Iterator[str]:
    """Yield the multiplications of a beat, and how often each expert ran, as a manifest states them."""
    if macs is None:
        return
    most, twin = f"at most {macs.max_macs:,}", f"the dense twin: {macs.dense_twin_macs:,}"
    if macs.mean_macs is None or macs.p95_macs is None:
        yield f"multiplications of a beat: {most}; {twin}; mean: unknown, {macs.why}"
        return
    yield f"multiplications of a beat: mean {macs.mean_macs:,.0f}, 95th percentile {macs.p95_macs:,.0f}, {most}; {twin}"
    yield f"  over {macs.beats:,} beats of {macs.data}"
    for path, shares in macs.expert_shares.items():
        listed = ", ".join(f"{expert}: {100 * share:.1f} %" for expert, share in enumerate(shares))
        yield f"  {path} experts ran for {listed}"

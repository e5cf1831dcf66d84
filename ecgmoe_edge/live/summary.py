"""The summary of a stream as a short table of plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from ecgmoe_edge.streaming.events import End


def render_summary(end: End, fs: float | None = None) -> str:
    """The table at the end of a stream: samples, beats per class, heart rate, delay and compute time.

    Args:
        end: the stream's end event.
        fs: sampling rate in Hz, shown beside the samples; None: not shown.
    """
    return "\n".join(_lines(end, fs))


def _lines(end: End, fs: float | None) -> Iterator[str]:
    rate = f" at {fs:g} Hz" if fs else ""
    gaps = f"{end.gaps:,} gap" + ("" if end.gaps == 1 else "s")
    missing = f"{end.lost:,} lost, {end.unusable:,} unusable, {gaps}"
    yield f"{'samples':<12}{end.samples:,} received{rate}, {missing}, {end.duration_s:.1f} s"
    artefacts = f", of these {end.artefacts:,} artefact" + ("" if end.artefacts == 1 else "s") if end.artefacts else ""
    beats = ", ".join(f"{label} {count:,}" for label, count in end.beats.items()) + artefacts
    yield f"{'beats':<12}{sum(end.beats.values()):,}" + (f": {beats}" if beats else "")
    heart_rate = "unknown" if end.mean_heart_rate_bpm is None else f"{end.mean_heart_rate_bpm:.1f} per minute"
    yield f"{'heart rate':<12}{heart_rate}"
    burden = end.af_burden
    if burden is not None and burden.percent is not None:
        episodes = f"{burden.episodes} episode" + ("" if burden.episodes == 1 else "s")
        yield (
            f"{'AF burden':<12}{burden.percent:.1f} % of {burden.classified_s:,.0f} s with a known rhythm, {episodes}, "
            f"longest {burden.longest_s:,.0f} s"
        )
    why = "" if end.engine_reason is None else f"; {end.engine_reason}"
    yield f"{'engine':<12}{end.engine}{why}"
    yield f"{'':<12}{'p50':>10}{'p95':>10}{'p99':>10}"
    yield f"{'delay':<12}{_percentiles(end.delay_ms, 0)}  ms from R peak to label, in samples"
    yield f"{'compute':<12}{_percentiles(end.compute_ms, 2)}  ms a beat"
    # Counters at zero are left out.
    link = [f"{name.replace('_', ' ')}: {value}" for name, value in end.link.items() if _is_worth_a_line(value)]
    yield from textwrap.wrap(", ".join(link), 88, initial_indent=f"{'link':<12}", subsequent_indent=" " * 12)


def _is_worth_a_line(value: object) -> bool:
    return bool(value) and not isinstance(value, Mapping | list | tuple)


def _percentiles(values: Mapping[str, float | None], digits: int) -> str:
    cells = []
    for name in ("p50", "p95", "p99"):
        value = values.get(name)
        cells.append(f"{'-' if value is None else f'{value:.{digits}f}':>10}")
    return "".join(cells)

"""The figures of an adaptation as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ecgmoe_edge.scoring.report.markup import clock

_MOST_TIMES = 10  # of one contradiction


def render_adaptation(figures: Mapping[str, Any]) -> str:
    """Return the output of `Adaptation.to_json` as text."""
    return "\n".join(_lines(figures))


def _lines(figures: Mapping[str, Any]) -> Iterator[str]:
    given, by_class = figures["labels"], figures["labels_by_class"]
    first_s, last_s = figures["labelled_s"]
    used = ", ".join(f"{name} {count}" for name, count in by_class.items())
    yield f"{sum(by_class.values())} labels took part ({used}), from {clock(first_s)} to {clock(last_s)}"
    if given["without_beat"] or given["unusable"]:
        yield (
            f"left out: {given['without_beat']} without a detected beat; {given['unusable']} of class Q, of poor beats "
            "or of artefacts"
        )
    if figures["spread_over"]:
        yield f"the labels spread over {figures['spread_over']} beats"
    crossed = figures["cross_validated"]
    yield ""
    yield "cross-validated in blocks of time   before    after"
    yield f"{'log loss of the labelled beats':<34}{_pair(crossed['log_loss'], '9.4f')}"
    yield f"{'labelled beats with a wrong label':<34}{_pair(crossed['wrong'], '9d')}"
    before, after = crossed["confusion"]
    for name, count in by_class.items():
        correct = [table[name][name] for table in (before, after)]
        if count:
            yield f"{f'  of class {name}':<34}{_pair([count - each for each in correct], '9d')}"
    yield from _contradiction_lines(figures["contradictions"])
    yield ""
    if figures["passed"]:
        yield f"The layer helps on {', '.join(figures['leads'])}."
    else:
        yield f"No layer: {figures['why_not']}."


def _contradiction_lines(found: list[Mapping[str, Any]]) -> Iterator[str]:
    if not found:
        return
    yield ""
    yield "Labels that contradict each other: most beats of the same shape and the same earliness have another label."
    for one in found:
        times = ", ".join(clock(second) for second in one["times_s"][:_MOST_TIMES])
        more = f" and {len(one['times_s']) - _MOST_TIMES} more" if len(one["times_s"]) > _MOST_TIMES else ""
        yield f"  {one['label']} at {times}{more}: alike are {one['alike']}, such as at {clock(one['alike_s'])}"


def _pair(values: list[Any], form: str) -> str:
    return "".join(format(value, form) for value in values)

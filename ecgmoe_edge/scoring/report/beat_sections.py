"""The sections of a report about beats: in sum, what was missed, per record, scores, experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.scoring.beat_traces import BeatTrace
from ecgmoe_edge.scoring.ec57 import ANSWERS, TRUTHS, Confusion
from ecgmoe_edge.scoring.report import drawings
from ecgmoe_edge.scoring.report.curves import reliability, separation
from ecgmoe_edge.scoring.report.expert_use import ExpertUse, example_beats, expert_uses
from ecgmoe_edge.scoring.report.markup import clock, folded, paragraph, picture, table
from ecgmoe_edge.scoring.results import Evaluation, RecordResult
from ecgmoe_edge.tasks import BEAT_CLASSES

_WORST = 10
_LONGEST_RUNS = 40
Traced = Sequence[tuple[str, BeatTrace]]


def beat_sections(scored: Evaluation, evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Titles and HTML of the sections, in order.

    Args:
        scored: run with traces.
        evaluation: what `scored.to_json` gave.
    """
    yield "In sum", _in_sum(evaluation)
    # Of paced records there is no trace: their beats have no AAMI class.
    traced = [(one.name, one.trace) for one in scored.results if one.trace is not None]
    yield "What was missed", _missed(scored.results, traced)
    confusion = scored.confusion
    if confusion is not None:
        yield "Truth and answer", _confusion(confusion) + _mistakes(traced)
    yield "Record by record", _records(evaluation)
    if traced:
        yield "Can the scores be believed", _scores([trace for _, trace in traced])
        yield "What the experts do", _experts(expert_uses(traced))


def _in_sum(evaluation: Mapping[str, Any]) -> str:
    held = evaluation["intervals"]["figures"]
    whole = evaluation["whole_record"]
    rows = [
        _sum_row("R peaks, 150 ms", evaluation["rpeaks"]["150ms"], whole["rpeaks"]["150ms"], "rpeaks.150ms", held),
        _sum_row("R peaks, 50 ms", evaluation["rpeaks"]["50ms"], whole["rpeaks"]["50ms"], "rpeaks.50ms", held),
    ]
    for name, counts in (evaluation["beats"] or {}).items():
        rows.append(_sum_row(f"class {name}", counts, whole["beats"][name], name, held))
    if evaluation["S_without_232"] is not None:
        title = "class S without record 232"
        rows.append(_sum_row(title, evaluation["S_without_232"], whole["S_without_232"], "S_without_232", held))
    delays = ", ".join(
        f"to {name} p50 {times['p50']:.0f}, p95 {times['p95']:.0f}, longest {times['max']:.0f}"
        for name, times in evaluation["delay_ms"].items()
        if times["p50"] is not None
    )
    made = evaluation["intervals"]
    return (
        paragraph(f"{evaluation['records']} records, the whole live pipeline: its own R peaks, not annotated ones.")
        + table(("", "Se %", "", "+P %", "", "F1 %", "", "found", "missed", "false", "F1 %, whole records"), rows)
        + paragraph(
            f"Small ranges: {100 * made['level']:g} % intervals over {made['patients']} patients, drawn anew "
            f"{made['draws']} times. As EC57 asks, the first five minutes of records of six minutes and more are left "
            "out, unless whole records were asked for; the last column has them in.",
            small=True,
        )
        + paragraph(f"Delay from the R peak, ms: {delays}.")
    )


def _sum_row(
    title: str, counts: Mapping[str, Any], whole: Mapping[str, Any] | None, key: str, held: Mapping[str, Any]
) -> list[object]:
    cells: list[object] = [title]
    for figure in ("se", "ppv", "f1"):
        pair = held.get(f"{key}.{figure}")
        cells += [counts[figure], f"{pair[0]:.1f} to {pair[1]:.1f}" if pair else ""]
    return [*cells, counts["tp"], counts["fn"], counts["fp"], whole["f1"] if whole else None]


def _missed(results: Sequence[RecordResult], traced: Traced) -> str:
    runs = [(name, run) for name, trace in traced for run in trace.v_runs]
    lost = sorted((one for one in runs if not one[1].found), key=lambda one: -one[1].beats)
    listed = table(
        ("record", "from", "to", "beats", "of them called V"),
        ((name, clock(run.start_s), clock(run.end_s), run.beats, run.called_v) for name, run in lost[:_LONGEST_RUNS]),
    )
    shortened = f" The longest {_LONGEST_RUNS} are listed." if len(lost) > _LONGEST_RUNS else ""
    parts = [
        paragraph(
            f"Runs of three V beats and more: {len(runs)} annotated, {len(lost)} missed (nowhere three of their beats "
            f"in a row called V).{shortened}"
        ),
        listed,
        paragraph(f"The {_WORST} records with the most wrong about V, then about S:"),
    ]
    parts += [_worst(results, name) for name in ("V", "S")]
    peaks = sorted(results, key=lambda one: -(one.score.rpeaks.fn + one.score.rpeaks.fp))[:_WORST]
    parts.append(paragraph(f"The {_WORST} records with the most R peaks missed or falsely found:"))
    parts.append(
        table(
            ("record", "missed", "false", "Se %", "+P %"),
            ((one.name, one.score.rpeaks.fn, one.score.rpeaks.fp, one.score.rpeaks.se, one.score.rpeaks.ppv)
             for one in peaks if one.score.rpeaks.fn + one.score.rpeaks.fp),
        )
    )  # fmt: skip
    missed = [
        (name, clock(time), kind)
        for name, trace in traced
        for time, kind in zip(trace.missed_s.tolist(), trace.missed_class.tolist(), strict=True)
        if kind != "N"
    ]
    listed = table(("record", "at", "class"), missed[:400])
    parts.append(folded(f"Beats other than N that were not detected: {len(missed)}", listed))
    return "\n".join(parts)


def _worst(results: Sequence[RecordResult], name: str) -> str:
    rows: list[tuple[int, list[object]]] = []
    for one in results:
        if one.score.confusion is None:
            continue
        counts = one.score.confusion.counts(name)
        wrong = counts.fn + counts.fp
        if wrong:
            rows.append((wrong, [one.name, counts.tp, counts.fn, counts.fp, counts.se, counts.ppv, counts.f1]))
    rows.sort(key=lambda row: -row[0])
    headings = ("record", f"{name} found", "missed", "false", "Se %", "+P %", "F1 %")
    return table(headings, (cells for _, cells in rows[:_WORST]))


def _confusion(confusion: Confusion) -> str:
    drawn = drawings.confusion_drawing(TRUTHS, ANSWERS, confusion.table, "beats")
    return picture(
        drawn,
        "Rows: annotated class, none where no beat is annotated. Columns: what the monitor said, ? too poor to call.",
    )


def _mistakes(traced: Traced) -> str:
    """Beats of the four mistakes that matter most, as they look."""
    kinds = [("V", "N"), ("N", "V"), ("S", "N"), ("N", "S")]
    drawn = [example_beats(traced, partial(_called, truth=truth, label=label)) for truth, label in kinds]
    if not any(names for _, names in drawn):
        return ""
    titles = [f"{truth} called {label}" for truth, label in kinds]
    named = (f"{title}: {'; '.join(names)}." for title, (_, names) in zip(titles, drawn, strict=True) if names)
    return picture(
        drawings.beats_drawing([waves for waves, _ in drawn], titles),
        "Beats that were called wrongly, up to eight of each kind, spread evenly over all of them.",
    ) + folded("Which beats these are", "".join(paragraph(text, small=True) for text in named))


def _called(trace: BeatTrace, truth: str, label: str) -> NDArray[np.bool_]:
    return np.asarray((trace.truth == truth) & (trace.label == label))


def _records(evaluation: Mapping[str, Any]) -> str:
    headings = ["record", "lead", "R Se", "R +P"]
    classes = BEAT_CLASSES if evaluation["beats"] else ()
    headings += [f"{name} {figure}" for name in classes for figure in ("Se", "+P", "F1", "beats")]
    rows = []
    for name, record in evaluation["per_record"].items():
        peaks = record["rpeaks"]["150ms"]
        row: list[object] = [name, record["lead"], peaks["se"], peaks["ppv"]]
        for beat_class in classes:
            counts = (record["beats"] or {}).get(beat_class)
            row += [counts["se"], counts["ppv"], counts["f1"], counts["tp"] + counts["fn"]] if counts else [None] * 4
        rows.append(row)
    skipped = table(("skipped", "why"), evaluation["skipped_records"].items()) if evaluation["skipped_records"] else ""
    return table(headings, rows) + skipped


def _scores(traces: Sequence[BeatTrace]) -> str:
    scores = np.concatenate([trace.scores for trace in traces])
    truth = np.concatenate([trace.truth for trace in traces])
    judged = np.isin(truth, (*BEAT_CLASSES, "none"))  # Q has no right answer
    scores, truth = scores[judged], truth[judged]
    best = scores.argmax(1)
    believed = {"the label": reliability(scores.max(1), np.array(BEAT_CLASSES)[best] == truth)}
    believed |= {
        name: reliability(scores[:, BEAT_CLASSES.index(name)], truth == name)
        for name in ("S", "V")
        if (truth == name).any()
    }
    split = {name: separation(scores[:, column], truth == name) for column, name in enumerate(BEAT_CLASSES)}
    curves = {name: curve for name, curve in split.items() if curve is not None}
    held = {name: curve.ece for name, curve in believed.items()}
    return (
        picture(
            drawings.reliability_drawing(believed),
            "Reliability: how often a score was right. On the dashed line a score can be taken at its word; below it, "
            "the model is too sure of itself.",
        )
        + table(
            ("", "expected calibration error"), ((name, None if e is None else f"{e:.4f}") for name, e in held.items())
        )
        + (picture(drawings.separation_drawing(curves), _SEPARATION) if curves else "")
        + table(
            ("class against the rest", "beats", "area under ROC", "mean +P"),
            ((n, c.positives, f"{c.auroc:.4f}", f"{c.average_precision:.4f}") for n, c in curves.items()),
        )
    )


_SEPARATION = (
    "Each class against the rest, over the detected beats as the decision rule scored them; a beat that was not "
    "detected has no score and is missing here."
)


def _experts(uses: Sequence[ExpertUse]) -> str:
    parts = [
        paragraph(
            "Each beat runs one expert of each path, which a router picks. Shares below are of the row's beats; the "
            "last row is the load. Beats drawn are spread evenly over all that the expert took, not picked."
        )
    ]
    for use in uses:
        rows = [row for row, name in enumerate(TRUTHS) if use.by_class[row].sum()]
        load = ", ".join(f"{100 * share:.1f} %" for share in use.load)
        parts += [
            f"<h3>Path {use.path}</h3>",
            paragraph(
                f"Load by expert: {load}. Evenness {use.evenness:.2f} (1: all work alike). The choice of the expert "
                f"tells {100 * use.told_apart:.0f} % of what the class is (mutual information over entropy)."
            ),
            picture(
                drawings.load_drawing([TRUTHS[row] for row in rows], use.by_class[rows]),
                f"Path {use.path}: which expert takes the beats of which annotated class.",
            ),
        ]
        if use.rhythms:
            caption = f"Path {use.path}: which expert takes the beats of which annotated rhythm."
            parts.append(picture(drawings.load_drawing(use.rhythms, use.by_rhythm), caption))
        titles = [f"expert {expert} ({100 * share:.0f} %)" for expert, share in enumerate(use.load)]
        parts.append(
            picture(drawings.beats_drawing(use.waves, titles), f"Path {use.path}: beats that each expert took.")
        )
        named = (f"Expert {expert}: {'; '.join(names)}." for expert, names in enumerate(use.wave_names))
        parts.append(folded("Which beats these are", "".join(paragraph(text, small=True) for text in named)))
    return "\n".join(parts)

"""The sections of a report about beats: summary, missed beats, confusion matrix, records, calibration and experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.scoring.beat_traces import BeatTrace
from ecgmoe_edge.scoring.ec57 import ANSWERS, NO_BEAT, TRUTHS, Confusion
from ecgmoe_edge.scoring.report import drawings
from ecgmoe_edge.scoring.report.curves import reliability, separation
from ecgmoe_edge.scoring.report.expert_use import ExpertUse, example_beats, expert_uses
from ecgmoe_edge.scoring.report.markup import clock, folded, paragraph, picture, table
from ecgmoe_edge.scoring.results import Evaluation, RecordResult
from ecgmoe_edge.scoring.table import artefact_lines
from ecgmoe_edge.tasks import ARTEFACT, BEAT_ANSWERS, BEAT_CLASSES

_SUMMARY_HEADINGS = (
    *("", "Se %", "", "+P %", "", "F1 %", ""),
    *("found", "missed", "false", "false: no beat", "F1 %, whole records"),
)
_WORST = 10
_LONGEST_RUNS = 40
_LISTED_BEATS = 400
Traced = Sequence[tuple[str, BeatTrace]]


def beat_sections(scored: Evaluation, evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Titles and HTML of the sections, in order.

    Args:
        scored: an evaluation with traces.
        evaluation: the output of `scored.to_json`.
    """
    yield "Summary", _summary(evaluation)
    # Paced records have no trace, because their beats have no AAMI class.
    traced = [(one.name, one.trace) for one in scored.results if one.trace is not None]
    yield "Missed beats and false positives", _missed(scored.results, traced)
    confusion = scored.confusion
    if confusion is not None:
        yield "Confusion matrix", _confusion(confusion) + _mistakes(traced)
    yield "Figures per record", _records(evaluation)
    if traced:
        yield "Calibration and separation of the scores", _scores([trace for _, trace in traced])
        yield "Use of the experts", _experts(expert_uses(traced))


def _summary(evaluation: Mapping[str, Any]) -> str:
    bootstrap = evaluation["intervals"]
    intervals, whole = bootstrap["figures"], evaluation["whole_record"]
    rows = [
        _summary_row(
            f"R peaks, {tolerance.removesuffix('ms')} ms",
            evaluation["rpeaks"][tolerance],
            whole["rpeaks"][tolerance],
            f"rpeaks.{tolerance}",
            intervals,
        )
        for tolerance in ("150ms", "50ms")
    ]
    for name, counts in (evaluation["beats"] or {}).items():
        rows.append(_summary_row(f"class {name}", counts, whole["beats"][name], name, intervals))
    if evaluation["S_without_232"] is not None:
        title = "class S without record 232"
        rows.append(
            _summary_row(title, evaluation["S_without_232"], whole["S_without_232"], "S_without_232", intervals)
        )
    delays = ", ".join(
        f"{name} p50 {times['p50']:.0f}, p95 {times['p95']:.0f}, maximum {times['max']:.0f}"
        for name, times in evaluation["delay_ms"].items()
        if times["p50"] is not None
    )
    return (
        paragraph(f"{evaluation['records']} records, whole live pipeline with detected R peaks, not annotated ones.")
        + table(_SUMMARY_HEADINGS, rows)
        + paragraph(
            f"Ranges are {100 * bootstrap['level']:g} % confidence intervals: bootstrap over {bootstrap['patients']} "
            f"patients, {bootstrap['draws']} resamples. As EC57 specifies, the first five minutes of records of six "
            "minutes or more are not scored, unless whole records were requested; the last column includes them.",
            small=True,
        )
        + paragraph(f"Delay from the R peak, ms: {delays}.")
    )


def _summary_row(
    title: str, counts: Mapping[str, Any], whole: Mapping[str, Any] | None, key: str, intervals: Mapping[str, Any]
) -> list[object]:
    cells: list[object] = [title]
    for figure in ("se", "ppv", "f1"):
        pair = intervals.get(f"{key}.{figure}")
        cells += [counts[figure], f"{pair[0]:.1f} to {pair[1]:.1f}" if pair else ""]
    cells += [counts[key] for key in ("tp", "fn", "fp")]
    return [*cells, counts.get("false_no_beat", ""), whole["f1"] if whole else None]


def _missed(results: Sequence[RecordResult], traced: Traced) -> str:
    runs = [(name, run) for name, trace in traced for run in trace.v_runs]
    missed_runs = sorted((one for one in runs if not one[1].found), key=lambda one: -one[1].beats)
    listed_runs = (
        (name, clock(run.start_s), clock(run.end_s), run.beats, run.called_v)
        for name, run in missed_runs[:_LONGEST_RUNS]
    )
    shortened = f" The longest {_LONGEST_RUNS} are listed." if len(missed_runs) > _LONGEST_RUNS else ""
    parts = [
        paragraph(
            f"Runs of three V beats or more: {len(runs)} annotated, {len(missed_runs)} missed (no three consecutive "
            f"beats of the run were labelled V).{shortened}"
        ),
        table(("record", "from", "to", "beats", "labelled V"), listed_runs),
        paragraph(f"The {_WORST} records with the most errors in class V, then in class S:"),
    ]
    parts += [_worst(results, name) for name in ("V", "S")]
    peaks = sorted(results, key=lambda one: -(one.score.rpeaks.fn + one.score.rpeaks.fp))[:_WORST]
    parts.append(paragraph(f"The {_WORST} records with the most missed and false R peaks:"))
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
    listed_beats = table(("record", "time", "class"), missed[:_LISTED_BEATS])
    parts.append(folded(f"Beats other than N that were not detected: {len(missed)}", listed_beats))
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
        "Rows: annotated class; none: no beat is annotated. Columns: label of the monitor; ?: detected but not "
        "classified.",
    ) + "".join(paragraph(f"{line[0].upper()}{line[1:]}.") for line in artefact_lines(confusion.artefacts_json()))


def _mistakes(traced: Traced) -> str:
    """Waveforms of the four most important kinds of misclassification."""
    kinds = [("V", "N"), ("N", "V"), ("S", "N"), ("N", "S")]
    examples = [example_beats(traced, partial(_labelled, truth=truth, label=label)) for truth, label in kinds]
    if not any(names for _, names in examples):
        return ""
    titles = [f"{truth} labelled {label}" for truth, label in kinds]
    lists = (f"{title}: {'; '.join(names)}." for title, (_, names) in zip(titles, examples, strict=True) if names)
    return picture(
        drawings.beats_drawing([waves for waves, _ in examples], titles),
        "Misclassified beats: up to eight of each kind, taken at even intervals from all of them.",
    ) + folded("List of these beats", "".join(paragraph(text, small=True) for text in lists))


def _labelled(trace: BeatTrace, truth: str, label: str) -> NDArray[np.bool_]:
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
    skipped = evaluation["skipped_records"]
    return table(headings, rows) + (table(("skipped", "reason"), skipped.items()) if skipped else "")


def _scores(traces: Sequence[BeatTrace]) -> str:
    scores = np.concatenate([trace.scores for trace in traces])
    truth = np.concatenate([trace.truth for trace in traces])
    scorable = np.isin(truth, (*BEAT_CLASSES, NO_BEAT))  # no label is correct for Q
    scores, truth = scores[scorable], truth[scorable]
    correct = np.where(truth == NO_BEAT, ARTEFACT, truth)
    best = scores.argmax(1)
    reliabilities = {"the label": reliability(scores.max(1), np.array(BEAT_ANSWERS)[best] == correct)}
    reliabilities |= {
        name: reliability(scores[:, BEAT_ANSWERS.index(name)], truth == name)
        for name in ("S", "V")
        if (truth == name).any()
    }
    separations = {name: separation(scores[:, column], correct == name) for column, name in enumerate(BEAT_ANSWERS)}
    if not scores[:, BEAT_ANSWERS.index(ARTEFACT)].any():  # the model does not have this answer
        del separations[ARTEFACT]
    curves = {name: curve for name, curve in separations.items() if curve is not None}
    errors = {name: curve.ece for name, curve in reliabilities.items()}
    return (
        picture(
            drawings.reliability_drawing(reliabilities),
            "Reliability: observed share of correct labels against the score. On the dashed line the score equals the "
            "probability; below it the model is overconfident.",
        )
        + table(
            ("", "expected calibration error"),
            ((name, None if error is None else f"{error:.4f}") for name, error in errors.items()),
        )
        + (picture(drawings.separation_drawing(curves), _SEPARATION) if curves else "")
        + table(
            ("class against the rest", "beats", "area under ROC", "average precision"),
            ((n, c.positives, f"{c.auroc:.4f}", f"{c.average_precision:.4f}") for n, c in curves.items()),
        )
    )


_SEPARATION = (
    "Each class against the rest, over the detected beats, after the decision rule. A beat that was not detected has "
    "no score and is not included."
)


def _experts(uses: Sequence[ExpertUse]) -> str:
    parts = [
        paragraph(
            "For each beat the router of each path selects one expert. Each row shows how its beats are shared among "
            "the experts; the last row is the load. The beats shown are taken at even intervals from all beats of the "
            "expert."
        )
    ]
    for use in uses:
        rows = [row for row, name in enumerate(TRUTHS) if use.by_class[row].sum()]
        load = ", ".join(f"{100 * share:.1f} %" for share in use.load)
        parts += [
            f"<h3>Path {use.path}</h3>",
            paragraph(
                f"Load by expert: {load}. Evenness {use.evenness:.2f} (1: equal load). The selected expert carries "
                f"{100 * use.class_information:.0f} % of the information about the class (mutual information divided "
                "by the entropy of the class)."
            ),
            picture(
                drawings.load_drawing([TRUTHS[row] for row in rows], use.by_class[rows]),
                f"Path {use.path}: selected expert by annotated class.",
            ),
        ]
        if use.rhythms:
            caption = f"Path {use.path}: selected expert by annotated rhythm."
            parts.append(picture(drawings.load_drawing(use.rhythms, use.by_rhythm), caption))
        titles = [f"expert {expert} ({100 * share:.0f} %)" for expert, share in enumerate(use.load)]
        parts.append(picture(drawings.beats_drawing(use.waves, titles), f"Path {use.path}: beats of each expert."))
        lists = (f"Expert {expert}: {'; '.join(names)}." for expert, names in enumerate(use.wave_names))
        parts.append(folded("List of these beats", "".join(paragraph(text, small=True) for text in lists)))
    return "\n".join(parts)

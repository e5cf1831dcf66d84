"""The later stages of the monitor in C, patient history to totals, with the arguments of the Python classes."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from c_library import library
from numpy.typing import NDArray

from ecgmoe_edge import contract
from ecgmoe_edge.streaming.beats import BeatContext, LeadView
from ecgmoe_edge.streaming.c_tables import labels
from ecgmoe_edge.streaming.c_tables.render import fill_statements, flatten
from ecgmoe_edge.streaming.classifier import Answer
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.streaming.events import Beat, BeatReason, Event, Gap, GapReason, ModelFault, Rhythm
from ecgmoe_edge.streaming.patient.own_layer import PatientLayer
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.rhythm.silence import SignalEnd, Silence

ROW = 24  # numbers that describe one event
MOST_EVENTS = 10
_SOURCES = tuple(
    f"ecgmoe_{name}.c"
    for name in (
        "alarms",
        "decision",
        "ecg_presence",
        "features",
        "labeller",
        "lead_history",
        "median",
        "model_faults",
        "model_rhythm",
        "model_tasks",
        "own_layer",
        "predictability",
        "rr_history",
        "shapes",
        "silence",
        "totals",
        "tracker",
        "unusable",
    )
)
_ALARMS = ("pause", "asystole", "V run", "bradycardia", "tachycardia")
_LEADS = ("I", "II", "III")
FLOAT = ("-DECGMOE_REAL_FLOAT",)

_CODE = Path(__file__).with_suffix(".c").read_text()


class StagesInC:
    """The later stages in C; arguments as those of `Labeller`.

    Args:
        fs: sampling rate, Hz.
        classes: classes of each task of the model.
        widths: number of values of each of its outputs for one lead.
        rule: constants of the decision rules.
        limits: limits of the rhythm alarms.
        layer: the patient's own layer.
        leads: names of the leads.
        flags: of the compiler.
    """

    def __init__(
        self,
        fs: float = 250.0,
        classes: Mapping[str, tuple[str, ...]] | None = None,
        widths: Mapping[str, int] | None = None,
        rule: DecisionRule | None = None,
        limits: RhythmLimits | None = None,
        layer: PatientLayer | None = None,
        leads: Sequence[str] = _LEADS[:1],
        flags: tuple[str, ...] = (),
    ) -> None:
        constants = {
            "rr": labels.rr_history_constants(fs),
            "lead": labels.lead_history_constants(),
            "features": labels.features_constants(),
            "labeller": labels.labeller_constants(fs, classes or {}, widths or {}, rule, limits),
            "silence": labels.silence_constants(fs, limits),
            "unusable": labels.unusable_constants(fs),
            "totals": labels.totals_constants(fs),
        }
        code = _CODE.replace("@FILL@", fill_statements(constants, "t->"))
        # The functions above convert numbers of ctypes without saying so.
        self.c = library(*_SOURCES, code=code, flags=("-Wno-conversion", *flags))
        for name in ("lead_amplitude", "shapes_correction"):
            getattr(self.c, name).restype = ctypes.c_double
        self.c.silence_due.restype = ctypes.c_int64
        values = np.array(list(flatten(constants)))
        self.c.init(pointer(values))
        self._fs, self._classes, self._leads = fs, dict(classes or {}), tuple(leads)
        self._outputs = tuple(widths or {})
        self._rows = np.zeros((MOST_EVENTS, ROW))
        if layer is not None:
            self._use(layer)

    def _use(self, layer: PatientLayer) -> None:
        share = np.nan if layer.margin_share_s is None else layer.margin_share_s
        first = self._leads.index(layer.leads[0])
        for k, name in enumerate(self._leads):
            matrix = layer.weights.get(name)
            weights = None if matrix is None else np.ascontiguousarray(matrix)
            self.c.use_layer(k, None if weights is None else pointer(weights), first, ctypes.c_double(share))

    # -- patient history and model inputs

    def rr_add(self, samples: int, remember: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        features, sequence = np.zeros(15, np.float32), np.zeros((2, 32), np.float32)
        self.c.rr_add(samples, remember, pointer(features), pointer(sequence))
        return features, sequence

    def template(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        out = np.zeros_like(window)
        self.c.lead_template(pointer(window), pointer(out))
        return out

    def amplitude(self, window: NDArray[np.float32]) -> float:
        return float(self.c.lead_amplitude(pointer(window)))

    def remember(self, window: NDArray[np.float32], quality: float) -> bool:
        return bool(self.c.lead_remember(pointer(window), ctypes.c_double(quality)))

    def correction(self, beat: NDArray[np.float32], margin: float, ratio: float | None) -> float:
        number = np.nan if ratio is None else ratio
        return float(self.c.shapes_correction(pointer(beat), ctypes.c_double(margin), ctypes.c_double(number)))

    def model_inputs(
        self,
        window: NDArray[np.float32],
        template: NDArray[np.float32],
        amplitude: float,
        rr_features: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        beat, features = np.stack((window, template)), np.zeros(27, np.float32)
        self.c.model_inputs(pointer(beat), ctypes.c_double(amplitude), pointer(rr_features), pointer(features))
        return beat, features

    # -- labeller and totals

    def take(self, item: object, answer: Answer | None = None) -> NDArray[np.float64]:
        """Return the events of an item as rows, see `rows_of`."""
        rows = pointer(self._rows)
        if isinstance(item, BeatContext):
            count = self._take_beat(item, answer, rows)
        elif isinstance(item, Silence):
            count = self.c.take_silence(
                ctypes.c_int64(item.since), ctypes.c_double(item.seconds), item.after_beat, rows
            )
        elif isinstance(item, SignalEnd):
            count = self.c.take_signal_end(ctypes.c_int64(item.sample), item.lead_lost, rows)
        elif isinstance(item, Gap):
            lost, lead = -1 if item.lost is None else item.lost, self._lead(item.lead)
            reason = get_args(GapReason).index(item.reason)
            samples = ctypes.c_int64(item.sample), ctypes.c_int64(lost)
            count = self.c.take_gap(*samples, reason, item.at_least, item.bridged, lead, rows)
        else:
            count = 0
        return self._rows[:count].copy()

    def flush(self) -> NDArray[np.float64]:
        return self._rows[: self.c.labeller_flush(pointer(self._rows))].copy()

    def _lead(self, name: str | None) -> int:
        return labels.ABSENT if name is None else self._leads.index(name)

    def _take_beat(self, beat: BeatContext, answer: Answer | None, rows: Any) -> int:
        views: tuple[BeatContext | LeadView, ...] = (beat, *beat.others)
        rr = 0 if beat.rr_s is None else round(beat.rr_s * self._fs)
        leads = [self._lead(view.lead) for view in views]
        whole = np.zeros(12, np.int64)
        flags = (beat.search_back, beat.complete, beat.no_qrs)
        numbers = (beat.sample, beat.known_at, beat.ready_at, rr, leads[0], len(views), *flags, *leads)
        whole[: len(numbers)] = numbers
        recurrence = np.nan if beat.recurrence is None else beat.recurrence
        inputs = outputs = None
        if answer is not None:
            outputs = (ctypes.c_void_p * 8)()
            held = [np.ascontiguousarray(answer.outputs[name], np.float32) for name in self._outputs]
            for k, array in enumerate(held):
                outputs[k] = array.ctypes.data
            if answer.windows is not None and answer.features is not None:
                pairs = zip(answer.windows, answer.features, strict=True)
                inputs = np.concatenate([np.concatenate((w, np.zeros_like(w), f)) for w, f in pairs])
        return int(
            self.c.take_beat(
                pointer(whole),
                ctypes.c_double(beat.quality),
                ctypes.c_double(recurrence),
                pointer(beat.rr_features) if beat.rr_features.size else None,
                None if inputs is None else pointer(inputs),
                outputs,
                rows,
            )
        )

    def rows_of(self, events: Sequence[Event]) -> NDArray[np.float64]:
        """Return events of Python as rows: the kind, and the numbers of the struct in C."""
        rows = [self._row(event) for event in events]
        return np.array([[*row, *[0.0] * (ROW - len(row))] for row in rows]).reshape(-1, ROW)

    def _row(self, event: Event) -> list[float]:
        if isinstance(event, Beat):
            return self._beat_row(event)
        if isinstance(event, Rhythm):
            rhythms = self._classes.get(contract.RHYTHM_TASK, ())
            of_model = event.limit is None
            kind = 0 if of_model else 1 + _ALARMS.index(event.label)
            to_s = 0.0 if event.to_s is None else event.to_s
            rhythm = rhythms.index(event.label) if of_model else labels.ABSENT
            return [1, 0, event.from_s, to_s, kind, rhythm, event.to_s is not None]
        if isinstance(event, ModelFault):
            outputs = [self._outputs.index(name) for name in event.outputs]
            return [2, event.sample, event.beats, len(outputs), *outputs]
        assert isinstance(event, Gap)
        lost, reason = -1 if event.lost is None else event.lost, get_args(GapReason).index(event.reason)
        return [3, event.sample, lost, reason, event.at_least, event.bridged, self._lead(event.lead)]

    def _beat_row(self, event: Beat) -> list[float]:
        classes = self._classes.get(contract.BEAT_TASK, ())
        known_at = event.sample + 1 + round(event.detection_delay_ms * self._fs / 1000)
        ready_at = event.sample + 1 + round(event.delay_ms * self._fs / 1000)
        rr = 0 if event.rr_ms is None else round(event.rr_ms * self._fs / 1000)
        label = labels.ABSENT if event.reason or event.label is None else classes.index(event.label)
        shared = labels.ABSENT if event.shared_label is None else classes.index(event.shared_label)
        reason = 0 if event.reason is None else 1 + get_args(BeatReason).index(event.reason)
        row = [0, event.sample, known_at, ready_at, rr, event.quality, label, shared, reason, self._lead(event.lead)]
        row += [event.search_back, event.label == "?", bool(event.scores)]
        scores = [event.scores.get(name, 0.0) for name in classes]
        paths = [name for name in self._outputs if contract.is_route(name)]
        experts = [event.experts.get(contract.path_of(name), labels.ABSENT) for name in paths]
        return [*row, *scores, *[0.0] * (5 - len(scores)), *experts, *[labels.ABSENT] * (2 - len(experts))]


def pointer(array: NDArray[Any]) -> Any:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)

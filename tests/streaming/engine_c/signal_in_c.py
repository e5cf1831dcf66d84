"""The signal's stages of the monitor in C, with simple arguments for ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from c_library import library
from numpy.typing import NDArray

from ecgmoe_edge.streaming.c_tables import qrs, signal
from ecgmoe_edge.streaming.c_tables.render import fill_statements, flatten
from ecgmoe_edge.streaming.events import GapReason, NotchState
from ecgmoe_edge.streaming.signal.mains import AUTO, MainsChoice
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID

GAP_REASONS: tuple[GapReason, ...] = get_args(GapReason)
NOTCH_STATES: tuple[NotchState, ...] = get_args(NotchState)
FLOAT = ("-DECGMOE_REAL_FLOAT",)
_ROW = 12  # numbers that describe one output
PIECE, HOLE, SPIKE, CANDIDATE, MAINS, FLATLINE, CLIPPING = range(7)
_SOURCES = tuple(
    f"ecgmoe_{name}.c"
    for name in (
        "bridge", "candidate_features", "candidates", "filters", "flatline", "intake", "lead", "lead_steps", "mains",
        "marks", "median", "pacing", "pacing_tail", "quality", "sums", "windows",
    )
)  # fmt: skip

_CODE = """
#include <stdlib.h>
#include "ecgmoe_signal_constants.h"
#include "ecgmoe_sums.h"
typedef struct {
    ecgmoe_signal_constants signal;
    ecgmoe_candidates_constants candidates;
} tables;
typedef struct {
    tables t;
    double *out;
    int rows;
    ecgmoe_intake intake;
    ecgmoe_lead_signal lead;
    ecgmoe_filter filter;
    ecgmoe_notch notch;
    ecgmoe_moving_sums sums;
} engine;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wfloat-conversion"
static void fill(tables *t, const double *v) {
FILL
}
#pragma GCC diagnostic pop
static double *row(engine *e, int kind) {
    double *r = e->out + ROW * e->rows++;
    for (int k = 0; k < ROW; k++) r[k] = 0.0;
    r[0] = kind;
    return r;
}
engine *engine_new(const double *numbers, int leads, double *out) {
    engine *e = calloc(1, sizeof *e);
    fill(&e->t, numbers);
    e->out = out;
    ecgmoe_intake_init(&e->intake, &e->t.signal.intake, leads);
    ecgmoe_lead_signal_init(&e->lead, &e->t.signal.lead, &e->t.candidates);
    ecgmoe_moving_sums_restart(&e->sums);
    return e;
}
void engine_delete(engine *e) { free(e); }
int engine_rows(engine *e) { int rows = e->rows; e->rows = 0; return rows; }
void engine_sizes(int *sizes) { sizes[0] = sizeof(ecgmoe_intake); sizes[1] = sizeof(ecgmoe_lead_signal); }

static void drain(engine *e) {
    ecgmoe_piece piece;
    ecgmoe_hole hole;
    ecgmoe_spike spike;
    while (ecgmoe_intake_new_hole(&e->intake, &hole)) {}
    while (ecgmoe_intake_next(&e->intake, &piece)) {
        double *r = row(e, 0);
        r[1] = (double)piece.sample; r[2] = piece.usable; r[3] = piece.out_of_range; r[4] = piece.lost_by;
        r[5] = (double)ecgmoe_intake_known_at(&e->intake, piece.sample + 1);
        for (int k = 0; k < ECGMOE_MAX_LEADS; k++) r[6 + k] = (double)piece.x[k];
        while (ecgmoe_intake_next_spike(&e->intake, &spike)) {
            r = row(e, 2);
            r[1] = (double)spike.sample; r[2] = spike.width; r[3] = spike.lead; r[4] = (double)spike.amplitude_mv;
        }
        while (ecgmoe_intake_passed_hole(&e->intake, &hole)) {
            r = row(e, 1);
            r[1] = (double)hole.start; r[2] = (double)hole.stop; r[3] = hole.reason; r[4] = hole.leads;
        }
    }
}
void intake_restart(engine *e, double at) { ecgmoe_intake_restart(&e->intake, (int64_t)at); }
void intake_push(engine *e, const double *x, int off) {
    ecgmoe_real sample[ECGMOE_MAX_LEADS];
    for (int k = 0; k < e->intake.n_leads; k++) sample[k] = (ecgmoe_real)x[k];
    ecgmoe_intake_push(&e->intake, sample, (uint8_t)off);
    drain(e);
}
void intake_lose(engine *e, int lost, int reason, int off) {
    for (int k = 0; k < lost; k++) {
        ecgmoe_intake_push_lost(&e->intake, (ecgmoe_gap_reason)reason, k == 0, (uint8_t)off);
        drain(e);
    }
}
void intake_finish(engine *e) { ecgmoe_intake_finish(&e->intake); drain(e); }
int intake_waiting(engine *e) { return ecgmoe_intake_waiting(&e->intake); }

static void put_candidate(engine *e, const ecgmoe_candidate *c) {
    double *r = row(e, 3);
    r[1] = (double)c->at; r[2] = (double)ecgmoe_candidate_known_at(c); r[3] = (double)ecgmoe_candidate_sample(c);
    r[4] = (double)c->energy;
}
static void put_flatlines(engine *e, const ecgmoe_flatline_report *reports, int n) {
    for (int k = 0; k < n; k++) {
        double *r = row(e, reports[k].report == ECGMOE_REPORT_FLATLINE ? 5 : 6);
        r[1] = (double)reports[k].known_at; r[2] = (double)reports[k].sample; r[3] = (double)reports[k].samples;
        r[4] = (double)reports[k].signal_end; r[5] = (double)reports[k].signal_begin; r[6] = reports[k].kind;
    }
}
static void take(engine *e) {
    ecgmoe_candidate found;
    ecgmoe_following settled;
    ecgmoe_mains_report mains;
    unsigned flags;
    while ((flags = ecgmoe_lead_signal_next(&e->lead, &found, &settled)) != 0)
        if (flags & ECGMOE_CANDIDATE_FOUND) put_candidate(e, &found);
    while (ecgmoe_lead_signal_next_mains(&e->lead, &mains)) {
        double *r = row(e, 4);
        r[1] = (double)mains.known_at; r[2] = (double)mains.sample; r[3] = (double)mains.mains.frequency_hz;
        r[4] = mains.mains.notch; r[5] = (double)mains.mains.share; r[6] = (double)mains.mains.amplitude_mv;
    }
}
void lead_begin(engine *e, double at) { ecgmoe_lead_signal_begin(&e->lead, (int64_t)at); }
void lead_restart(engine *e, double at) { ecgmoe_lead_signal_restart(&e->lead, (int64_t)at); }
void lead_push(engine *e, const double *x, int n) {
    for (int k = 0; k < n; k++) {
        ecgmoe_lead_signal_push(&e->lead, (ecgmoe_real)x[k]);
        take(e);
    }
}
void lead_break_off(engine *e, double known_at) {
    ecgmoe_candidate found[ECGMOE_MOST_LEFT];
    ecgmoe_following settled;
    ecgmoe_lead_signal_release(&e->lead);
    take(e);
    int n = ecgmoe_lead_signal_break_off(&e->lead, (int64_t)known_at, found, &settled);
    for (int k = 0; k < n; k++) put_candidate(e, &found[k]);
}
void lead_flatline(engine *e, const double *x, int n, double at) {
    ecgmoe_flatline_report reports[ECGMOE_MOST_FLATLINE_REPORTS];
    for (int k = 0; k < n; k++)
        put_flatlines(
            e, reports, ecgmoe_lead_signal_detect_flatline(&e->lead, (ecgmoe_real)x[k], (int64_t)at + k, reports));
}
void lead_end_flatline(engine *e, double at) {
    ecgmoe_flatline_report reports[ECGMOE_MOST_FLATLINE_REPORTS];
    put_flatlines(e, reports, ecgmoe_lead_signal_end_flatline(&e->lead, (int64_t)at, reports));
}
int lead_clipped(engine *e, double first, double stop) {
    return ecgmoe_flatline_clipped(&e->lead.flatline, (int64_t)first, (int64_t)stop);
}
void lead_spike(engine *e, double sample, int width) { ecgmoe_lead_signal_spike(&e->lead, (int64_t)sample, width); }
void lead_bridge(engine *e, double start, double stop) {
    ecgmoe_lead_signal_bridge(&e->lead, (int64_t)start, (int64_t)stop);
}
int lead_shows(engine *e, double r) { return ecgmoe_lead_signal_shows(&e->lead, (int64_t)r); }
void lead_window(engine *e, double r, float *window) { ecgmoe_lead_signal_window(&e->lead, (int64_t)r, window); }
double lead_quality(engine *e, double r, const float *window) {
    return (double)ecgmoe_lead_signal_quality(&e->lead, window, (int64_t)r);
}
int lead_no_qrs(engine *e) { return ecgmoe_lead_signal_shows_no_qrs(&e->lead); }
void lead_signal(engine *e, double first, double *y, int n) {
    for (int k = 0; k < n; k++) y[k] = (double)ecgmoe_history_or_zero(&e->lead.signal, (int64_t)first + k);
}
double quality_of_beat(engine *e, const float *window, int r_index, int seen, int clipped) {
    return (double)ecgmoe_quality_of_beat(&e->lead.quality, window, r_index, seen, clipped != 0);
}
int quality_no_qrs(engine *e) { return e->lead.quality.no_qrs; }
void quality_restart(engine *e) { ecgmoe_quality_restart(&e->lead.quality); }

void filter_reset(engine *e) { ecgmoe_filter_reset(&e->filter); }
void filter_push(engine *e, const double *x, double *y, int n) {
    for (int k = 0; k < n; k++)
        y[k] = (double)ecgmoe_filter_push(&e->filter, &e->t.signal.lead.band, (ecgmoe_real)x[k]);
}
void notch_start(engine *e, double design_hz, double frequency_hz, double re, double im) {
    const ecgmoe_mains_constants *c = &e->t.signal.lead.mains;
    ecgmoe_notch_design(&e->notch, c->fs, (ecgmoe_real)design_hz, c->notch_q);
    ecgmoe_notch_start(&e->notch, c->fs, (ecgmoe_real)frequency_hz, (ecgmoe_real)re, (ecgmoe_real)im);
}
void notch_push(engine *e, const double *x, double *y, int n) {
    for (int k = 0; k < n; k++) y[k] = (double)ecgmoe_notch_push(&e->notch, (ecgmoe_real)x[k]);
}
void sums_push(engine *e, int width, int block, const double *x, double *over_width, double *over_block, int n) {
    for (int i = 0; i < n; i++) {
        ecgmoe_real in[ECGMOE_SUMS], out[ECGMOE_SUMS];
        for (int k = 0; k < ECGMOE_SUMS; k++) in[k] = (ecgmoe_real)x[k * n + i];
        over_block[i] = (double)ecgmoe_moving_sums_push(&e->sums, &e->sums.newest, width, block, in, out);
        for (int k = 0; k < ECGMOE_SUMS; k++) over_width[k * n + i] = (double)out[k];
    }
}
static int32_t copied(const double *x, int n, ecgmoe_real *after) {
    for (int k = 0; k < n; k++) after[k] = (ecgmoe_real)x[k];
    return n;
}
int tail_is(engine *e, const double *x, int n) {
    ecgmoe_real after[ECGMOE_MOST_AFTER_SPIKE];
    return ecgmoe_is_tail(&e->t.signal.lead.tails, after, copied(x, n, after));
}
int tail_r(engine *e, const double *x, int n) {
    ecgmoe_real after[ECGMOE_MOST_AFTER_SPIKE];
    return ecgmoe_r_on_tail(&e->t.signal.lead.tails, after, copied(x, n, after));
}
void medians(const double *x, double *y, int n, int keep) {
    ecgmoe_real sorted[512];
    uint8_t order[512];
    ecgmoe_median m;
    ecgmoe_median_init(&m);
    for (int k = 0; k < n; k++) {
        ecgmoe_median_add(&m, sorted, order, keep, (ecgmoe_real)x[k]);
        y[k] = (double)ecgmoe_median_value(&m, sorted);
    }
}
"""


class SignalInC:
    """The stages of one monitor: the intake of all leads, one lead, and single filters."""

    def __init__(
        self,
        fs: float,
        leads: int = 1,
        *,
        grid: NDArray[np.int64] = BEAT_GRID,
        notch: MainsChoice = AUTO,
        invert: bool = False,
        flags: tuple[str, ...] = (),
    ) -> None:
        tables = {
            "signal": signal.constants(fs, grid=grid, notch=notch, invert=invert),
            "candidates": qrs.candidates_constants(fs),
        }
        code = _CODE.replace("FILL", fill_statements(tables, "t->")).replace("ROW", str(_ROW))
        self._library = library(*_SOURCES, code=code, flags=flags)
        self._rows = np.zeros((200_000, _ROW))
        self._numbers = np.array(list(flatten(tables)))
        self._library.engine_new.restype = ctypes.c_void_p
        self._library.lead_quality.restype = self._library.quality_of_beat.restype = ctypes.c_double
        self._engine = ctypes.c_void_p(self._library.engine_new(_pointer(self._numbers), leads, _pointer(self._rows)))

    def __del__(self) -> None:
        self._library.engine_delete(self._engine)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the code above: numbers with a point are doubles, arrays are pointers."""
        return getattr(self._library, name)(self._engine, *[_argument(each) for each in arguments])

    def rows(self) -> list[list[float]]:
        """Return the outputs since the last call."""
        rows: list[list[float]] = self._rows[: self._library.engine_rows(self._engine)].tolist()
        return rows

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of the state of the intake and of a lead."""
        numbers = (ctypes.c_int * 2)()
        self._library.engine_sizes(numbers)
        return numbers[0], numbers[1]

    def filtered(self, name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the samples `x` after the filter that a function such as "filter_push" runs."""
        y = np.empty(x.size)
        self.call(name, np.ascontiguousarray(x), y, x.size)
        return y

    def medians(self, x: Sequence[float], keep: int) -> list[float]:
        """Return the running median of `x`."""
        numbers, y = np.array(x, float), np.empty(len(x))
        self._library.medians(_pointer(numbers), _pointer(y), len(x), keep)
        return y.tolist()


def _argument(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _pointer(value)
    return ctypes.c_double(value) if isinstance(value, float) else value


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)

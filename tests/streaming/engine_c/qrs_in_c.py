"""The candidates and the detector of R peaks in C, with simple arguments for ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from c_library import library
from numpy.typing import NDArray

from ecgmoe_edge.streaming.c_tables import qrs
from ecgmoe_edge.streaming.c_tables.render import fill_statements, flatten

SOURCES = tuple(
    f"ecgmoe_{name}.c"
    for name in (
        "candidates", "candidate_features", "sums", "rating", "lead_memory", "lead_panel", "detector",
        "detector_decisions", "detector_again", "median",
    )
)  # fmt: skip
#: Kinds of rows; a candidate has the columns of `numbers_of`.
FOUND, SETTLED = 1.0, 2.0

_CODE = """
#include <stdlib.h>
#include "ecgmoe_detector.h"
#include "ecgmoe_candidates.h"
typedef struct {
    ecgmoe_candidates_constants candidates;
    ecgmoe_detector_constants detector;
} tables;
typedef struct {
    tables t;
    int leads, rows;
    double *out;
    ecgmoe_history signal[ECGMOE_MAX_LEADS];
    ecgmoe_candidates finders[ECGMOE_MAX_LEADS];
    ecgmoe_detector detector;
} engine;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wfloat-conversion"
static void fill(tables *t, const double *v) {
FILL
}
#pragma GCC diagnostic pop
static double *row(engine *e) { return e->out + 40 * e->rows++; }
static void take(void *context, const ecgmoe_detector_output *output) {
    double *r = row((engine *)context);
    r[0] = 3 + output->kind;
    if (output->kind == ECGMOE_DETECTOR_RPEAK) {
        const ecgmoe_rpeak *peak = &output->of.rpeak;
        r[1] = (double)peak->known_at; r[2] = (double)peak->sample; r[3] = (double)peak->log_odds;
        r[4] = (double)peak->recurrence; r[5] = peak->search_back;
    } else {
        const ecgmoe_lead_status *status = &output->of.status;
        r[1] = (double)status->known_at; r[2] = status->broken; r[3] = status->clear; r[4] = status->n_order;
        for (int k = 0; k < ECGMOE_MAX_LEADS; k++) { r[5 + k] = status->order[k]; r[8 + k] = status->reasons[k]; }
    }
}
void *engine_new(const double *numbers, int leads, double *out) {
    engine *e = calloc(1, sizeof *e);
    fill(&e->t, numbers);
    e->leads = leads;
    e->out = out;
    for (int k = 0; k < leads; k++) ecgmoe_candidates_init(&e->finders[k], &e->t.candidates);
    ecgmoe_detector_init(&e->detector, &e->t.detector, leads, (ecgmoe_detector_sink){take, e});
    return e;
}
void engine_delete(engine *e) { free(e); }
int engine_rows(engine *e) { int rows = e->rows; e->rows = 0; return rows; }
void engine_sizes(int *sizes) { sizes[0] = sizeof(ecgmoe_candidates); sizes[1] = sizeof(ecgmoe_detector); }
static void put_candidate(double *r, const ecgmoe_candidate *c) {
    *r++ = 1; *r++ = (double)c->at; *r++ = (double)ecgmoe_candidate_known_at(c);
    *r++ = (double)ecgmoe_candidate_settled_at(c); *r++ = (double)ecgmoe_candidate_sample(c);
    *r++ = (double)c->energy; *r++ = (double)c->log_energy;
    for (int k = 0; k < ECGMOE_SHAPE_VALUES; k++) *r++ = (double)c->shape[k];
    *r++ = (double)c->following;
    for (int k = 0; k < ECGMOE_WAVEFORM; k++) *r++ = (double)c->waveform[k] / ECGMOE_WAVEFORM_ONE;
}
static void put_settled(double *r, const ecgmoe_following *settled) {
    r[0] = 2; r[1] = (double)settled->at; r[2] = (double)(settled->at + settled->settled_after);
    r[3] = (double)settled->following;
}
void finder_restart(engine *e, int lead, double at) {
    ecgmoe_history_restart(&e->signal[lead], (int64_t)at);
    ecgmoe_candidates_restart(&e->finders[lead], (int64_t)at);
}
static void push(engine *e, int lead, double y) {
    ecgmoe_candidate found;
    ecgmoe_following settled;
    unsigned flags = ecgmoe_candidates_push(&e->finders[lead], &e->signal[lead], (ecgmoe_real)y, &found, &settled);
    if (flags & ECGMOE_CANDIDATE_SETTLED) put_settled(row(e), &settled);
    if (flags & ECGMOE_CANDIDATE_FOUND) put_candidate(row(e), &found);
}
void finder_push(engine *e, int lead, const double *y, int n) {
    for (int k = 0; k < n; k++) {
        ecgmoe_history_append(&e->signal[lead], (ecgmoe_real)y[k]);
        push(e, lead, y[k]);
    }
}
void finder_run_again(engine *e, int lead, double at, const double *y, int n) {
    ecgmoe_following settled;
    if (ecgmoe_candidates_run_again(&e->finders[lead], (int64_t)at, &settled)) put_settled(row(e), &settled);
    for (int k = 0; k < n; k++) push(e, lead, y[k]);
}
void finder_break_off(engine *e, int lead, double known_at) {
    ecgmoe_candidate found[ECGMOE_MOST_LEFT];
    ecgmoe_following settled;
    int n = ecgmoe_candidates_break_off(&e->finders[lead], &e->signal[lead], (int64_t)known_at, found, &settled);
    if (settled.at != ECGMOE_NO_SAMPLE) put_settled(row(e), &settled);
    for (int k = 0; k < n; k++) put_candidate(row(e), &found[k]);
}
void detector_restart(engine *e) { ecgmoe_detector_restart(&e->detector); }
void detector_run(engine *e, double arrived) { ecgmoe_detector_run(&e->detector, (int64_t)arrived); }
void detector_flush(engine *e, double arrived) { ecgmoe_detector_flush(&e->detector, (int64_t)arrived); }
void detector_begin_lead(engine *e, int lead, double at) {
    ecgmoe_detector_begin_lead(&e->detector, lead, (int64_t)at);
}
void detector_end_lead(engine *e, int lead, double known_at, int reason) {
    ecgmoe_detector_end_lead(&e->detector, lead, (int64_t)known_at, (ecgmoe_lead_reason)reason);
}
double detector_due(engine *e) { return (double)ecgmoe_detector_due(&e->detector); }
double detector_began(engine *e) { return (double)e->detector.began; }
void detector_settle(engine *e, int lead, double at, double settled_at, double following) {
    ecgmoe_following settled = {(int64_t)at, (int16_t)(settled_at - at), (ecgmoe_real)following};
    ecgmoe_detector_settle(&e->detector, lead, &settled);
}
void detector_candidate(engine *e, int lead, const double *r) {
    ecgmoe_candidate c = {.at = (int64_t)r[0], .energy = (ecgmoe_real)r[4], .log_energy = (ecgmoe_real)r[5]};
    c.known_after = (int16_t)(r[1] - r[0]); c.settled_after = (int16_t)(r[2] - r[0]);
    c.r_after = (int16_t)(r[3] - r[0]);
    for (int k = 0; k < ECGMOE_SHAPE_VALUES; k++) c.shape[k] = (ecgmoe_real)r[6 + k];
    c.following = (ecgmoe_real)r[11];
    for (int k = 0; k < ECGMOE_WAVEFORM; k++)
        c.waveform[k] = (ecgmoe_waveform_value)(r[12 + k] * ECGMOE_WAVEFORM_ONE);
    ecgmoe_detector_candidate(&e->detector, lead, &c);
}
/* All stages, sample by sample, without a look at whether a candidate is plausible: y is (leads, n). */
void stream(engine *e, const double *y, int n) {
    for (int k = 0; k < n; k++) {
        ecgmoe_candidate found[ECGMOE_MAX_LEADS];
        unsigned flags[ECGMOE_MAX_LEADS];
        for (int lead = 0; lead < e->leads; lead++) {
            ecgmoe_following settled;
            const ecgmoe_real x = (ecgmoe_real)y[lead * n + k];
            ecgmoe_history_append(&e->signal[lead], x);
            flags[lead] =
                ecgmoe_candidates_push(&e->finders[lead], &e->signal[lead], x, &found[lead], &settled);
            if (flags[lead] & ECGMOE_CANDIDATE_SETTLED) ecgmoe_detector_settle(&e->detector, lead, &settled);
        }
        for (int lead = 0; lead < e->leads; lead++) /* after `settled` of all leads */
            if (flags[lead] & ECGMOE_CANDIDATE_FOUND) ecgmoe_detector_candidate(&e->detector, lead, &found[lead]);
        ecgmoe_detector_run(&e->detector, e->finders[0].stop);
    }
}
"""


class EngineInC:
    """The finders and the detector of some leads.

    Args:
        fs: sampling rate, Hz.
        leads: number of leads.
        flags: of the compiler.
        most: most rows of output between two calls of `rows`.
    """

    def __init__(self, fs: float, leads: int, flags: tuple[str, ...] = (), most: int = 20000) -> None:
        constants: Any = {"candidates": qrs.candidates_constants(fs), "detector": qrs.detector_constants(fs)}
        self.c = library(*SOURCES, code=_CODE.replace("FILL", fill_statements(constants, "t->")), flags=flags)
        self.c.engine_new.restype = ctypes.c_void_p
        self.c.detector_due.restype = self.c.detector_began.restype = ctypes.c_double
        self._numbers = np.array(list(flatten(constants)))
        self._out = np.zeros((most, 40))
        self._engine = ctypes.c_void_p(self.c.engine_new(_pointer(self._numbers), leads, _pointer(self._out)))

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.c, name)

        def call(*arguments: Any) -> Any:
            return function(self._engine, *(_argument(each) for each in arguments))

        return call

    def c_due(self) -> float:
        """Samples that must have arrived before the detector decides anything new."""
        return float(self.detector_due())

    def close(self) -> None:
        self.c.engine_delete(self._engine)

    def rows(self) -> NDArray[np.float64]:
        """Return the outputs since the last call, (rows, 40); the first column is their kind."""
        rows = self.c.engine_rows(self._engine)
        assert rows <= len(self._out)
        found = self._out[:rows].copy()
        self._out[:rows] = 0.0
        return found


def numbers_of(candidate: Any) -> list[float]:
    """Return a candidate of the Python engine as the columns of one of C."""
    fields: Sequence[Any] = (
        candidate.at, candidate.known_at, candidate.settled_at, candidate.sample, candidate.energy,
        candidate.log_energy, *candidate.shape, candidate.following, *candidate.waveform,
    )  # fmt: skip
    return [float(each) for each in fields]


def _pointer(x: NDArray[np.float64]) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.ctypes.data)


def _argument(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        assert value.dtype == np.float64
        assert value.flags.c_contiguous
        return _pointer(value)
    return ctypes.c_double(value) if isinstance(value, float) else value

/*
 * Pacing spikes: detected in the raw signal of each lead by slope and width, reported, and removed from the signal.
 * Python: signal/pacing.py.
 *
 * A spike is a steep step out of a quiet signal that returns close to its level within 4 ms (at least two samples). It
 * is replaced by a straight line. Until it is known whether a steep step begins a spike, the samples since the step
 * wait.
 */
#ifndef ECGMOE_PACING_H
#define ECGMOE_PACING_H

#include "ecgmoe_bridge.h"

/* From a `SpikeFilter(0, fs)`; names in capitals are those of the module pacing. */
typedef struct {
    bool enabled;  /* fs >= LEAST_RATE_HZ; below, the samples are not changed */
    int32_t width; /* SpikeFilter.width: longest spike, samples */
    int32_t quiet; /* SpikeFilter.quiet: time before a spike in which the signal must be quiet, samples */
    ecgmoe_real least_step_mv;      /* LEAST_STEP_MV */
    ecgmoe_real contrast;           /* CONTRAST */
    ecgmoe_real back_same_side;     /* BACK_SAME_SIDE */
    ecgmoe_real back_opposite_side; /* BACK_OPPOSITE_SIDE */
} ecgmoe_pacing_constants;

typedef struct {
    ecgmoe_real fs;
    ecgmoe_real times_s[ECGMOE_TAIL_TIMES];    /* TAIL_TIMES_S */
    ecgmoe_real rest;                          /* TAIL_REST */
    ecgmoe_real complex_begin_s, complex_end_s; /* COMPLEX_S */
    ecgmoe_real complex_step_s;                /* COMPLEX_STEP_S */
    ecgmoe_real bell_s;                        /* BELL_S */
    ecgmoe_real large_tail;                    /* LARGE_TAIL */
    ecgmoe_real fit_rest;                      /* FIT_REST */
} ecgmoe_tail_constants;

/* Longest signal after a spike that is examined. */
#define ECGMOE_MOST_AFTER_SPIKE (ECGMOE_MS(ECGMOE_COMPLEX_END_MS) + 1)

/* One spike in one lead. */
typedef struct {
    int64_t sample;
    ecgmoe_real amplitude_mv; /* with its sign */
    int8_t lead;
    uint8_t width; /* samples */
} ecgmoe_spike;

/* Spikes that wait for other leads: at least one sample lies between two of them. */
#define ECGMOE_MOST_SPIKES (ECGMOE_WIDEST_SPIKE + 2)

typedef struct {
    const ecgmoe_pacing_constants *constants;
    int64_t start;                     /* first sample of the signal */
    int64_t stop;                      /* end (exclusive) of the samples that were given to it */
    int64_t passed;                    /* first sample that is not passed on yet */
    int64_t at[ECGMOE_MAX_LEADS];      /* first sample of a lead that is not decided yet */
    ecgmoe_spike spikes[ECGMOE_MAX_LEADS][ECGMOE_MOST_SPIKES];
    uint8_t n_spikes[ECGMOE_MAX_LEADS];
    uint8_t n_all_spikes;
    int8_t n_leads;
} ecgmoe_pacing;

void ecgmoe_pacing_init(ecgmoe_pacing *p, const ecgmoe_pacing_constants *constants, int n_leads);

/* Start a new signal on all leads at sample `at`. */
void ecgmoe_pacing_restart(ecgmoe_pacing *p, int64_t at);

/* Remove the spikes from the samples before `stop`; last: no more samples come, so an open step is no spike. */
void ecgmoe_pacing_process(ecgmoe_pacing *p, ecgmoe_waiting_samples *waiting, int64_t stop, bool last);

/* End (exclusive) of the samples that are decided on all leads. */
int64_t ecgmoe_pacing_decided(const ecgmoe_pacing *p);

/* Take the next spike that begins before sample `stop`, in the order of their samples. */
bool ecgmoe_pacing_next_spike(ecgmoe_pacing *p, int64_t stop, ecgmoe_spike *spike);

/* Whether the signal after a spike only decays: a polarised electrode discharges, and there is no QRS complex.
 *
 * after: `n` samples after the spike, mV from the level before the spike.
 */
bool ecgmoe_is_tail(const ecgmoe_tail_constants *c, const ecgmoe_real *after, int32_t n);

/* The R peak of a paced QRS complex on a large tail, as an index in `after`; -1 if there is no large tail or the fit is
 * poor. A decay and a bell curve are fitted together, for several decays and several times of the bell. */
int32_t ecgmoe_r_on_tail(const ecgmoe_tail_constants *c, const ecgmoe_real *after, int32_t n);

#endif

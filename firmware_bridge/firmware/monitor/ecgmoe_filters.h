/*
 * Causal filters that carry their state from sample to sample. Python: signal/filters.py.
 *
 * The 64-bit build computes as Python does, with the same bits: two second-order sections at a time in transposed
 * direct form II. In 32 bits, this form is useless at 0.5 Hz: its poles lie too close to 1. That build therefore runs
 * single sections in delta form, whose coefficients are small where the poles are close to 1, and keep all their
 * digits. It also subtracts the first sample from all, since a band-pass does not depend on it and an electrode's
 * offset of hundreds of mV would cost digits in the state.
 */
#ifndef ECGMOE_FILTERS_H
#define ECGMOE_FILTERS_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

#define ECGMOE_PI ECGMOE_R(3.14159265358979323846)

/* Python: `CausalFilter`; made by `filter_constants` in c_tables/signal.py. */
typedef struct {
    ecgmoe_real numerator[5], denominator[5]; /* one of `CausalFilter.stages` */
    ecgmoe_real rest[4];                      /* one of `CausalFilter.rest`: state after a constant input of 1 */
} ecgmoe_filter_stage;

/* y = b0 x + w1, w1 += b1 x - a1 y + w2, w2 += b2 x - a2 y */
typedef struct {
    ecgmoe_real b0, b1, b2, a1, a2;
} ecgmoe_filter_section;

typedef struct {
    int32_t n_stages, n_sections;
    ecgmoe_filter_stage stages[(ECGMOE_FILTER_SECTIONS + 1) / 2]; /* of the 64-bit build */
    ecgmoe_filter_section sections[ECGMOE_FILTER_SECTIONS];       /* of the 32-bit build */
} ecgmoe_filter_constants;

typedef struct {
    bool started;
#ifdef ECGMOE_REAL_FLOAT
    ecgmoe_real first; /* sample */
    ecgmoe_real state[ECGMOE_FILTER_SECTIONS][2];
#else
    ecgmoe_real state[(ECGMOE_FILTER_SECTIONS + 1) / 2][4];
#endif
} ecgmoe_filter;

/* Start a new signal with the next sample: as if this had been constant for ever. */
static inline void ecgmoe_filter_reset(ecgmoe_filter *f) {
    f->started = false;
}

/* Filter the next sample. */
ecgmoe_real ecgmoe_filter_push(ecgmoe_filter *f, const ecgmoe_filter_constants *c, ecgmoe_real x);

/* Filter the next `n` samples in place, once the filter has started. */
void ecgmoe_filter_push_all(ecgmoe_filter *f, const ecgmoe_filter_constants *c, ecgmoe_real *x, int32_t n);

/* A notch that can start within a signal, without a transient. Python: `Notch`. */
typedef struct {
    ecgmoe_real b0, b1, a1, a2; /* b2 is b0 */
    ecgmoe_real state[2];
} ecgmoe_notch;

/* Design a notch at a frequency in Hz, as scipy.signal.iirnotch does. q: Python `filters.NOTCH_Q`. */
void ecgmoe_notch_design(ecgmoe_notch *n, ecgmoe_real fs, ecgmoe_real frequency_hz, ecgmoe_real q);

/* Set the state to that after an endless tone h[n] = Re((re + j im) exp(2j pi frequency_hz n / fs)).
 * The next sample contains h[0]. A phasor of 0 starts the notch from rest. */
void ecgmoe_notch_start(ecgmoe_notch *n, ecgmoe_real fs, ecgmoe_real frequency_hz, ecgmoe_real re, ecgmoe_real im);

/* Filter the next sample. */
static inline ecgmoe_real ecgmoe_notch_push(ecgmoe_notch *n, ecgmoe_real x) {
    ecgmoe_real y = n->state[0] + n->b0 * x;
    n->state[0] = n->state[1] + x * n->b1 - y * n->a1;
    n->state[1] = x * n->b0 - y * n->a2;
    return y;
}

#endif

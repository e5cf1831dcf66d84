/*
 * The three band-passes in which candidates for a QRS complex are described, side by side.
 * Python: `qrs_band` in ecgmoe_edge/streaming/signal/filters.py, as used by `CandidateFinder`.
 *
 * In 64 bits a band is one filter of order 4, with the same bits as in Python. In 32 bits it is two sections of order 2
 * in the delta form of ecgmoe_filters.h. The numerators of the sections are gain (1, 2, 1) and (1, -2, 1), so in this
 * form only two coefficients of each section remain, and their product has no odd powers.
 */
#ifndef ECGMOE_QRS_BANDS_H
#define ECGMOE_QRS_BANDS_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

enum { ECGMOE_BAND_QRS, ECGMOE_BAND_SLOW, ECGMOE_BAND_FAST, ECGMOE_BANDS };

/* Made by `_band_constants` in c_tables/qrs.py. */
typedef struct {
    ecgmoe_real b0, b2, b4; /* numerator of the only one of `stages` */
    ecgmoe_real a[4];       /* its denominator from the second coefficient on */
    ecgmoe_real rest[4];    /* its state after a constant input of 1 */
    ecgmoe_real gain, four_gains;     /* of the sections, 1 and 4 times */
    ecgmoe_real first[2], second[2];  /* denominators of the sections in delta form */
    ecgmoe_real sections_rest[4];     /* state of the sections after a constant input of 1 */
} ecgmoe_qrs_band_constants;

typedef struct {
    ecgmoe_real state[4];
} ecgmoe_qrs_band;

/* Start a new signal as if its first sample `x` had been constant for ever. */
static inline void ecgmoe_qrs_band_start(ecgmoe_qrs_band *band, const ecgmoe_qrs_band_constants *c, ecgmoe_real x) {
    for (int k = 0; k < 4; k++) {
#ifdef ECGMOE_REAL_FLOAT
        band->state[k] = c->sections_rest[k] * x;
#else
        band->state[k] = c->rest[k] * x;
#endif
    }
}

/* Filter the next sample. */
static inline ecgmoe_real ecgmoe_qrs_band_push(
    ecgmoe_qrs_band *band, const ecgmoe_qrs_band_constants *c, ecgmoe_real x) {
    ecgmoe_real *const z = band->state;
#ifdef ECGMOE_REAL_FLOAT
    const ecgmoe_real driven = c->four_gains * x;
    const ecgmoe_real middle = c->gain * x + z[0];
    const ecgmoe_real y = middle + z[2];
    z[0] += driven - c->first[0] * middle + z[1];
    z[1] += driven - c->first[1] * middle;
    z[2] += z[3] - c->second[0] * y;
    z[3] -= c->second[1] * y;
#else
    const ecgmoe_real y = z[0] + c->b0 * x;
    z[0] = z[1] - c->a[0] * y;
    z[1] = z[2] + c->b2 * x - c->a[1] * y;
    z[2] = z[3] - c->a[2] * y;
    z[3] = c->b4 * x - c->a[3] * y;
#endif
    return y;
}

#endif

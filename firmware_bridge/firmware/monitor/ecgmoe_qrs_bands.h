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

/* An array has one element for each band. Made by `bands_constants` in c_tables/qrs.py. */
typedef struct {
    ecgmoe_real b0[ECGMOE_BANDS], b2[ECGMOE_BANDS], b4[ECGMOE_BANDS]; /* numerator of the only one of `stages` */
    ecgmoe_real a[4][ECGMOE_BANDS];    /* its denominator from the second coefficient on */
    ecgmoe_real rest[4][ECGMOE_BANDS]; /* its state after a constant input of 1 */
    ecgmoe_real gain[ECGMOE_BANDS], four_gains[ECGMOE_BANDS]; /* of the sections, 1 and 4 times */
    ecgmoe_real first[2][ECGMOE_BANDS], second[2][ECGMOE_BANDS]; /* denominators of the sections in delta form */
    ecgmoe_real sections_rest[4][ECGMOE_BANDS]; /* state of the sections after a constant input of 1 */
} ecgmoe_qrs_bands_constants;

typedef struct {
    ecgmoe_real state[4][ECGMOE_BANDS];
} ecgmoe_qrs_bands;

/* Start a new signal as if its first sample `x` had been constant for ever. */
void ecgmoe_qrs_bands_start(ecgmoe_qrs_bands *bands, const ecgmoe_qrs_bands_constants *constants, ecgmoe_real x);

/* Filter the next sample. */
static inline void ecgmoe_qrs_bands_push(
    ecgmoe_qrs_bands *bands, const ecgmoe_qrs_bands_constants *constants, ecgmoe_real x, ecgmoe_real out[ECGMOE_BANDS]) {
    const ecgmoe_qrs_bands_constants *const c = constants;
    ecgmoe_real(*const z)[ECGMOE_BANDS] = bands->state;
    for (int k = 0; k < ECGMOE_BANDS; k++) {
#ifdef ECGMOE_REAL_FLOAT
        const ecgmoe_real driven = c->four_gains[k] * x;
        const ecgmoe_real middle = c->gain[k] * x + z[0][k];
        z[0][k] += driven - c->first[0][k] * middle + z[1][k];
        z[1][k] += driven - c->first[1][k] * middle;
        out[k] = middle + z[2][k];
        z[2][k] += z[3][k] - c->second[0][k] * out[k];
        z[3][k] -= c->second[1][k] * out[k];
#else
        const ecgmoe_real y = z[0][k] + c->b0[k] * x;
        z[0][k] = z[1][k] - c->a[0][k] * y;
        z[1][k] = z[2][k] + c->b2[k] * x - c->a[1][k] * y;
        z[2][k] = z[3][k] - c->a[2][k] * y;
        z[3][k] = c->b4[k] * x - c->a[3][k] * y;
        out[k] = y;
#endif
    }
}

#endif

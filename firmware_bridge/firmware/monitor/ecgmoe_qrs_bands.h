/*
 * The three band-passes in which candidates for a QRS complex are described, side by side.
 * Python: `qrs_band` in ecgmoe_edge/streaming/signal/filters.py, as used by `CandidateFinder`.
 *
 * In double precision a band is one filter of order 4, as in Python, with the same bits. In single precision such a
 * filter is not exact enough below 5 Hz, so a band is two sections of order 2.
 */
#ifndef ECGMOE_QRS_BANDS_H
#define ECGMOE_QRS_BANDS_H

#include "ecgmoe_config.h"

enum { ECGMOE_BAND_QRS, ECGMOE_BAND_SLOW, ECGMOE_BAND_FAST, ECGMOE_BANDS };

/* An array has one element for each band. `sos` are the sections of a band, scipy.signal.butter(..., output="sos"): the
 * numerators are gain (1, 2, 1) and (1, -2, 1). Their product has no odd powers. */
typedef struct {
    ecgmoe_real b0[ECGMOE_BANDS], b2[ECGMOE_BANDS], b4[ECGMOE_BANDS]; /* numerator, finder.bands[k].stages[0][0] */
    ecgmoe_real a[4][ECGMOE_BANDS];       /* denominator from its second coefficient on, finder.bands[k].stages[0][1] */
    ecgmoe_real rest[4][ECGMOE_BANDS];    /* state after a constant input of 1, finder.bands[k].rest[0] */
    ecgmoe_real gain[ECGMOE_BANDS];       /* sos[0, 0] */
    ecgmoe_real first[2][ECGMOE_BANDS];   /* sos[0, 4:] */
    ecgmoe_real second[2][ECGMOE_BANDS];  /* sos[1, 4:] */
    ecgmoe_real sections_rest[4][ECGMOE_BANDS]; /* state of the sections after a constant input of 1, sosfilt_zi(sos) */
} ecgmoe_qrs_bands_constants;

typedef struct {
    ecgmoe_real state[4][ECGMOE_BANDS];
} ecgmoe_qrs_bands;

/* Start a new signal as if its first sample `x` had been constant for ever. */
void ecgmoe_qrs_bands_start(ecgmoe_qrs_bands *bands, const ecgmoe_qrs_bands_constants *constants, ecgmoe_real x);

/* Filter the next sample. */
static inline void ecgmoe_qrs_bands_push(
    ecgmoe_qrs_bands *bands, const ecgmoe_qrs_bands_constants *constants, ecgmoe_real x, ecgmoe_real out[ECGMOE_BANDS]) {
    ecgmoe_real(*const z)[ECGMOE_BANDS] = bands->state;
    for (int k = 0; k < ECGMOE_BANDS; k++) {
#ifdef ECGMOE_REAL_FLOAT
        const ecgmoe_real scaled = constants->gain[k] * x;
        const ecgmoe_real middle = scaled + z[0][k];
        z[0][k] = 2.0f * scaled - constants->first[0][k] * middle + z[1][k];
        z[1][k] = scaled - constants->first[1][k] * middle;
        out[k] = middle + z[2][k];
        z[2][k] = z[3][k] - 2.0f * middle - constants->second[0][k] * out[k];
        z[3][k] = middle - constants->second[1][k] * out[k];
#else
        const ecgmoe_real y = z[0][k] + constants->b0[k] * x;
        z[0][k] = z[1][k] - constants->a[0][k] * y;
        z[1][k] = z[2][k] + constants->b2[k] * x - constants->a[1][k] * y;
        z[2][k] = z[3][k] - constants->a[2][k] * y;
        z[3][k] = constants->b4[k] * x - constants->a[3][k] * y;
        out[k] = y;
#endif
    }
}

#endif

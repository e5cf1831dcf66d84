/*
 * A candidate for a QRS complex, and the comparison of its waveform with others.
 * Python: `Candidate` in ecgmoe_edge/streaming/qrs/candidates.py.
 */
#ifndef ECGMOE_CANDIDATE_H
#define ECGMOE_CANDIDATE_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

#define ECGMOE_NO_SAMPLE ((int64_t)-1) /* no sample: Python's None */

/* A waveform has norm 1. With 32-bit numbers it is kept in 16 bits, since a lead remembers about fifty waveforms; this
 * changes a correlation by less than 1e-4. */
#ifdef ECGMOE_REAL_FLOAT
typedef int16_t ecgmoe_waveform_value;
typedef int32_t ecgmoe_waveform_product; /* holds any sum of products: its size is at most that of 1.0 */
#define ECGMOE_WAVEFORM_ONE 32767
#else
typedef double ecgmoe_waveform_value;
typedef double ecgmoe_waveform_product;
#define ECGMOE_WAVEFORM_ONE 1.0
#endif

/* Indices of `shape`: ln of these energies over that of the candidate. */
enum {
    ECGMOE_SHAPE_SLOW,       /* 1-5 Hz */
    ECGMOE_SHAPE_FAST,       /* 18-40 Hz */
    ECGMOE_SHAPE_BEFORE,     /* lowest energy in the 150 ms before */
    ECGMOE_SHAPE_AFTER,      /* lowest energy in the 150 ms after */
    ECGMOE_SHAPE_BACKGROUND, /* mean of the last second */
    ECGMOE_SHAPE_VALUES
};

/* A peak of energy that may be a QRS complex. The times relative to `at` are at most a few seconds. */
typedef struct {
    int64_t at; /* sample of the peak of energy */
    ecgmoe_real energy; /* mV/s */
    ecgmoe_real log_energy;
    ecgmoe_real shape[ECGMOE_SHAPE_VALUES];
    ecgmoe_real following; /* largest energy between `known_at` and `settled_at` over its own */
    int16_t known_after;   /* known_at - at: samples until it is known that no energy near it is larger */
    int16_t settled_after; /* settled_at - at: samples until `following` is known */
    int16_t r_after;       /* R peak - at, if this is a beat */
    ecgmoe_waveform_value waveform[ECGMOE_WAVEFORM]; /* around the largest deflection, mean 0, norm 1 */
} ecgmoe_candidate;

static inline int64_t ecgmoe_candidate_known_at(const ecgmoe_candidate *candidate) {
    return candidate->at + candidate->known_after;
}

static inline int64_t ecgmoe_candidate_settled_at(const ecgmoe_candidate *candidate) {
    return candidate->at + candidate->settled_after;
}

/* The R peak. */
static inline int64_t ecgmoe_candidate_sample(const ecgmoe_candidate *candidate) {
    return candidate->at + candidate->r_after;
}

/* Move the R peak. */
static inline void ecgmoe_candidate_move(ecgmoe_candidate *candidate, int64_t sample) {
    candidate->r_after = (int16_t)(sample - candidate->at);
}

/* What became known about a candidate after it was reported: its energy is followed for another 150 ms. */
typedef struct {
    int64_t at; /* sample of the candidate's peak of energy; ECGMOE_NO_SAMPLE: there is none */
    int16_t settled_after;
    ecgmoe_real following;
} ecgmoe_following;

/* The correlation of two waveforms from the sum of their products. */
static inline ecgmoe_real ecgmoe_correlation_of(ecgmoe_waveform_product sum) {
#ifdef ECGMOE_REAL_FLOAT
    return (ecgmoe_real)sum * (1.0f / ((float)ECGMOE_WAVEFORM_ONE * (float)ECGMOE_WAVEFORM_ONE));
#else
    return sum;
#endif
}

/* Correlation of two waveforms: the sum of the products in their order. */
static inline ecgmoe_real ecgmoe_correlation(
    const ecgmoe_waveform_value one[ECGMOE_WAVEFORM], const ecgmoe_waveform_value other[ECGMOE_WAVEFORM]) {
    ecgmoe_waveform_product sum = (ecgmoe_waveform_product)one[0] * other[0];
    for (int k = 1; k < ECGMOE_WAVEFORM; k++) {
        sum += (ecgmoe_waveform_product)one[k] * other[k];
    }
    return ecgmoe_correlation_of(sum);
}

/* Some waveforms side by side, so that another is compared with all of them in one pass. */
typedef struct {
    ecgmoe_waveform_value values[ECGMOE_WAVEFORM][ECGMOE_QRS_MEMORY];
} ecgmoe_waveforms;

static inline void ecgmoe_waveforms_put(
    ecgmoe_waveforms *waveforms, int place, const ecgmoe_waveform_value waveform[ECGMOE_WAVEFORM]) {
    for (int k = 0; k < ECGMOE_WAVEFORM; k++) {
        waveforms->values[k][place] = waveform[k];
    }
}

/* Write the correlations of a waveform with all of them; of those not put yet, any number. */
static inline void ecgmoe_waveforms_compare(
    const ecgmoe_waveforms *waveforms,
    const ecgmoe_waveform_value waveform[ECGMOE_WAVEFORM],
    ecgmoe_real correlations[ECGMOE_QRS_MEMORY]) {
    ecgmoe_waveform_product sums[ECGMOE_QRS_MEMORY];
    for (int place = 0; place < ECGMOE_QRS_MEMORY; place++) {
        sums[place] = (ecgmoe_waveform_product)waveforms->values[0][place] * waveform[0];
    }
    for (int k = 1; k < ECGMOE_WAVEFORM; k++) {
        for (int place = 0; place < ECGMOE_QRS_MEMORY; place++) {
            sums[place] += (ecgmoe_waveform_product)waveforms->values[k][place] * waveform[k];
        }
    }
    for (int place = 0; place < ECGMOE_QRS_MEMORY; place++) {
        correlations[place] = ecgmoe_correlation_of(sums[place]);
    }
}

#endif

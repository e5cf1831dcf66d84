#include "ecgmoe_candidate_features.h"

#include "ecgmoe_median.h"

#define MOST_AROUND (4 * ECGMOE_MS(ECGMOE_HALF_QRS_MS) + 1)

/* Height of the signal over its level near the candidate, mV. */
static ecgmoe_real height_at(const ecgmoe_history *signal, int64_t sample, ecgmoe_real level) {
    return ecgmoe_fabs(ecgmoe_history_at(signal, sample) - level);
}

/*
 * The first top among the `count` samples from `first` on that is at least a fraction `share` of `highest`; if there is
 * none, ECGMOE_NO_SAMPLE. The first and the last of the samples are no tops.
 */
static int64_t first_top(
    const ecgmoe_history *signal, int64_t first, int count, ecgmoe_real level, ecgmoe_real least) {
    ecgmoe_real before = height_at(signal, first, level), here = height_at(signal, first + 1, level);
    for (int k = 1; k + 1 < count; k++) {
        const ecgmoe_real after = height_at(signal, first + k + 1, level);
        if (here > before && here >= after && here >= least) {
            return first + k;
        }
        before = here;
        here = after;
    }
    return ECGMOE_NO_SAMPLE;
}

/* The R peak: the first top of the complex that is close to the highest one. */
static int64_t find_r(
    const ecgmoe_candidates_constants *c, const ecgmoe_history *signal, int64_t middle, bool is_long) {
    ecgmoe_real values[MOST_AROUND];
    const int half = c->half, count = 2 * half + 1;
    const int64_t first = middle - half;
    ecgmoe_history_read(signal, middle - 2 * half, 4 * half + 1, values);
    const ecgmoe_real level = ecgmoe_select(values, 4 * half + 1, 2 * half);
    ecgmoe_history_read(signal, first, count, values);
    for (int k = 0; k < count; k++) {
        values[k] = ecgmoe_fabs(values[k] - level);
    }
    ecgmoe_real highest = -1, highest_top = -1; /* -1: there is none */
    int at_highest = 0;
    for (int k = 0; k < count; k++) {
        if (values[k] > highest) {
            highest = values[k];
            at_highest = k;
        }
        if (k > 0 && k + 1 < count && values[k] > highest_top && values[k] > values[k - 1] &&
            values[k] >= values[k + 1]) {
            highest_top = values[k];
        }
    }
    int64_t r = ECGMOE_NO_SAMPLE;
    if (is_long) { /* a wide complex may have begun before the signal that was examined */
        r = first_top(signal, middle - c->longest, c->longest - half + 1, level, c->first_share * highest);
    }
    if (r == ECGMOE_NO_SAMPLE && highest_top >= 0) {
        r = first_top(signal, first, count, level, c->first_share * highest_top);
    }
    return r == ECGMOE_NO_SAMPLE ? first + at_highest : r;
}

/* Write the waveform around sample `centre`: mean 0, norm 1. */
static void read_waveform(
    const ecgmoe_candidates_constants *c,
    const ecgmoe_history *signal,
    int64_t centre,
    ecgmoe_waveform_value waveform[ECGMOE_WAVEFORM]) {
    ecgmoe_real values[ECGMOE_WAVEFORM], sum = 0, power = 0;
    for (int k = 0; k < ECGMOE_WAVEFORM; k++) {
        values[k] = ecgmoe_history_at(signal, centre + c->waveform[k]);
        sum += values[k];
    }
    const ecgmoe_real mean = sum / ECGMOE_WAVEFORM;
    for (int k = 0; k < ECGMOE_WAVEFORM; k++) {
        values[k] -= mean;
        power += values[k] * values[k];
    }
    const ecgmoe_real norm = ecgmoe_sqrt(power) + c->least_norm;
    for (int k = 0; k < ECGMOE_WAVEFORM; k++) {
#ifdef ECGMOE_REAL_FLOAT
        waveform[k] = (ecgmoe_waveform_value)ecgmoe_rint(values[k] / norm * (ecgmoe_real)ECGMOE_WAVEFORM_ONE);
#else
        waveform[k] = values[k] / norm;
#endif
    }
}

void ecgmoe_describe_candidate(
    const ecgmoe_candidates_constants *constants,
    const ecgmoe_history *signal,
    int largest,
    ecgmoe_candidate *candidate) {
    const ecgmoe_real energy = candidate->energy;
    const int64_t middle = candidate->at - constants->width / 2;
    const bool is_long = candidate->shape[ECGMOE_SHAPE_BEFORE] >= constants->long_share * energy;
    read_waveform(constants, signal, middle - constants->half + largest, candidate->waveform);
    candidate->log_energy = ecgmoe_log(energy);
    for (int k = 0; k < ECGMOE_SHAPE_VALUES; k++) {
        candidate->shape[k] = ecgmoe_log(candidate->shape[k] / energy + constants->tiny);
    }
    const int64_t r = find_r(constants, signal, middle, is_long);
    ecgmoe_candidate_move(candidate, ecgmoe_max_i64(r, ecgmoe_history_start(signal)));
}

#include "ecgmoe_rating.h"

void ecgmoe_timing_init(ecgmoe_beat_timing *timing, const ecgmoe_rating_constants *constants) {
    timing->constants = constants;
    ecgmoe_timing_restart(timing);
}

void ecgmoe_timing_restart(ecgmoe_beat_timing *timing) {
    timing->last_at = ECGMOE_NO_SAMPLE;
    timing->rr_s = ECGMOE_NONE_REAL;
    timing->spread = timing->constants->usual_spread;
    ecgmoe_recent_clear(&timing->rr);
    ecgmoe_recent_clear(&timing->log_rr);
}

static ecgmoe_real standard_deviation(const ecgmoe_recent *recent) {
    const ecgmoe_real count = (ecgmoe_real)recent->count;
    ecgmoe_real sum = 0, squares = 0;
    for (int k = 0; k < recent->count; k++) {
        sum += recent->values[k];
    }
    const ecgmoe_real mean = sum / count;
    for (int k = 0; k < recent->count; k++) {
        const ecgmoe_real off = recent->values[k] - mean;
        squares += off * off;
    }
    return ecgmoe_sqrt(squares / count);
}

void ecgmoe_timing_accept(ecgmoe_beat_timing *timing, int64_t at) {
    const ecgmoe_rating_constants *const c = timing->constants;
    if (timing->last_at != ECGMOE_NO_SAMPLE) {
        const ecgmoe_real rr_s = (ecgmoe_real)(at - timing->last_at) / c->fs;
        ecgmoe_recent_add(&timing->rr, ECGMOE_QRS_MEMORY, rr_s);
        ecgmoe_recent_add(&timing->log_rr, ECGMOE_QRS_MEMORY, ecgmoe_log(rr_s));
        if (timing->rr.count > 1) {
            timing->rr_s = ecgmoe_recent_median(&timing->rr);
            timing->spread = ecgmoe_min(standard_deviation(&timing->log_rr), c->most_spread);
        }
    }
    timing->last_at = at;
}

void ecgmoe_rater_init(ecgmoe_rater *rater, const ecgmoe_rating_constants *constants) {
    rater->constants = constants;
    for (int place = 0; place < ECGMOE_QRS_MEMORY; place++) { /* those not known yet are compared too, but not used */
        for (int k = 0; k < ECGMOE_WAVEFORM; k++) {
            rater->waveforms.values[k][place] = 0;
        }
    }
    ecgmoe_rater_restart(rater);
}

void ecgmoe_rater_restart(ecgmoe_rater *rater) {
    rater->last = ECGMOE_NONE_REAL;
    rater->last_at = ECGMOE_NO_SAMPLE;
    rater->beats = rater->place = 0;
    ecgmoe_recent_clear(&rater->energies);
    ecgmoe_recent_clear(&rater->others);
    rater->level = 0;
    rater->other_level = ECGMOE_NONE_REAL;
    rater->weak = 0;
}

static void set_level(ecgmoe_rater *rater) {
    rater->level = ecgmoe_recent_median(&rater->energies);
    rater->weak = rater->constants->least_share * ecgmoe_exp(rater->level);
}

void ecgmoe_rater_learn(ecgmoe_rater *rater, ecgmoe_real energy) {
    ecgmoe_recent_clear(&rater->energies);
    ecgmoe_recent_add(&rater->energies, ECGMOE_QRS_MEMORY, ecgmoe_log(energy));
    set_level(rater);
    ecgmoe_recent_clear(&rater->others);
    rater->other_level = ECGMOE_NONE_REAL;
}

void ecgmoe_rater_accept(ecgmoe_rater *rater, const ecgmoe_candidate *beat) {
    rater->last_at = beat == NULL ? ECGMOE_NO_SAMPLE : beat->at;
    if (beat == NULL) {
        return;
    }
    rater->last = beat->log_energy;
    ecgmoe_recent_add(&rater->energies, ECGMOE_QRS_MEMORY, beat->log_energy);
    ecgmoe_waveforms_put(&rater->waveforms, rater->place, beat->waveform);
    rater->place = (uint8_t)((rater->place + 1) % ECGMOE_QRS_MEMORY);
    if (rater->beats < ECGMOE_QRS_MEMORY) {
        rater->beats++;
    }
    set_level(rater);
}

void ecgmoe_rater_reject(ecgmoe_rater *rater, const ecgmoe_candidate *other) {
    ecgmoe_recent_add(&rater->others, ECGMOE_QRS_MEMORY, other->log_energy);
    rater->other_level = ecgmoe_recent_median(&rater->others);
}

bool ecgmoe_rater_is_loud(const ecgmoe_rater *rater, const ecgmoe_candidate *candidate) {
    return candidate->energy > rater->constants->loud * ecgmoe_exp(rater->level);
}

/* Write the correlations of a candidate with the recent beats, the highest first; returns their number. */
static int rank_correlations(
    const ecgmoe_rater *rater, const ecgmoe_candidate *candidate, ecgmoe_real ranked[ECGMOE_QRS_MEMORY]) {
    ecgmoe_real correlations[ECGMOE_QRS_MEMORY];
    ecgmoe_waveforms_compare(&rater->waveforms, candidate->waveform, correlations);
    for (int k = 0; k < rater->beats; k++) {
        int place = k;
        while (place > 0 && ranked[place - 1] < correlations[k]) {
            ranked[place] = ranked[place - 1];
            place--;
        }
        ranked[place] = correlations[k];
    }
    return rater->beats;
}

ecgmoe_real ecgmoe_rater_recurrence(const ecgmoe_rater *rater, const ecgmoe_candidate *candidate) {
    ecgmoe_real ranked[ECGMOE_QRS_MEMORY];
    const int count = rank_correlations(rater, candidate, ranked);
    if (count == 0) {
        return ECGMOE_NONE_REAL;
    }
    return count >= rater->constants->enough_beats ? ranked[1] : ranked[0];
}

/* Write the network's inputs in the order of `INPUTS` in weights.py. */
static void compute_inputs(
    const ecgmoe_rater *rater,
    const ecgmoe_candidate *candidate,
    const ecgmoe_beat_timing *timing,
    ecgmoe_real following,
    ecgmoe_real inputs[ECGMOE_QRS_INPUTS]) {
    const ecgmoe_rating_constants *const c = rater->constants;
    const ecgmoe_real energy = candidate->log_energy;
    const ecgmoe_real others =
        ecgmoe_is_none(rater->other_level) ? rater->level - c->usual_contrast : rater->other_level;
    /* Energy peaks later in some leads than in others: time is counted from the last beat as this lead showed it. */
    const int64_t last_at =
        rater->last_at == ECGMOE_NO_SAMPLE || timing->last_at == ECGMOE_NO_SAMPLE ? timing->last_at : rater->last_at;
    ecgmoe_real drop = 0, early = 0, since = c->longest_s;
    if (last_at != ECGMOE_NO_SAMPLE) {
        since = (ecgmoe_real)(candidate->at - last_at) / c->fs;
        early = ecgmoe_max(0, 1 - since / c->early_s);
        if (!ecgmoe_is_none(rater->last)) {
            drop = ecgmoe_min(0, energy - rater->last) * ecgmoe_max(0, 1 - since / c->t_wave_s);
        }
    }
    const bool rr_known = !ecgmoe_is_none(timing->rr_s);
    const ecgmoe_real relative =
        ecgmoe_log(ecgmoe_max(since / (rr_known ? timing->rr_s : c->usual_rr_s), c->least_rr_share));
    ecgmoe_real ranked[ECGMOE_QRS_MEMORY];
    const int count = rank_correlations(rater, candidate, ranked);
    ecgmoe_real *next = inputs;
    *next++ = energy - rater->level;
    *next++ = drop;
    *next++ = ecgmoe_min(energy - others, c->most_over_others);
    *next++ = ecgmoe_min(relative, c->most_log_rr);
    *next++ = early;
    *next++ = rr_known ? ecgmoe_min(ecgmoe_fabs(relative), c->most_deviation) : c->usual_deviation;
    *next++ = timing->spread;
    *next++ = ecgmoe_min(since, c->longest_s);
    *next++ = count ? ranked[0] : c->usual_correlation;
    *next++ = count ? ranked[count / 2] : c->usual_correlation;
    *next++ = ecgmoe_log(following + c->least_following);
    for (int k = 0; k < ECGMOE_SHAPE_VALUES; k++) {
        *next++ = candidate->shape[k];
    }
}

/* tanh by one exponential: within a rounding error of 1, which is enough here, and several times as fast as tanh. */
static ecgmoe_real hyperbolic_tangent(ecgmoe_real x) {
    return 1 - 2 / (ecgmoe_exp(2 * x) + 1);
}

ecgmoe_real ecgmoe_rater_log_odds(
    const ecgmoe_rater *rater,
    const ecgmoe_candidate *candidate,
    const ecgmoe_beat_timing *timing,
    ecgmoe_real following) {
    const ecgmoe_qrs_network *const network = &rater->constants->network;
    ecgmoe_real inputs[ECGMOE_QRS_INPUTS], hidden[ECGMOE_QRS_HIDDEN];
    compute_inputs(rater, candidate, timing, following, inputs);
    for (int unit = 0; unit < ECGMOE_QRS_HIDDEN; unit++) {
        hidden[unit] = network->bias[unit];
    }
    for (int k = 0; k < ECGMOE_QRS_INPUTS; k++) {
        for (int unit = 0; unit < ECGMOE_QRS_HIDDEN; unit++) {
            hidden[unit] += inputs[k] * network->weights[k][unit];
        }
    }
    ecgmoe_real sum = 0;
    for (int unit = 0; unit < ECGMOE_QRS_HIDDEN; unit++) {
        sum += hyperbolic_tangent(hidden[unit]) * network->out[unit];
    }
    return sum + network->out_bias;
}

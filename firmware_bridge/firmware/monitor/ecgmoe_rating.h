/*
 * How likely a candidate is a beat of this patient: log odds from a small network.
 * Python: `BeatTiming` and `Rater` in ecgmoe_edge/streaming/qrs/rating.py, `QrsNetwork` in weights.py.
 *
 * Python keeps a rating until it may have changed. Here it is computed again each time: this takes a microsecond on a
 * computer, two or three times for each candidate, and no memory.
 */
#ifndef ECGMOE_RATING_H
#define ECGMOE_RATING_H

#include "ecgmoe_candidate.h"
#include "ecgmoe_recent.h"

/* QRS_NETWORK; it computes `out @ tanh(inputs @ weights + bias) + out_bias`. */
typedef struct {
    ecgmoe_real weights[ECGMOE_QRS_INPUTS][ECGMOE_QRS_HIDDEN];
    ecgmoe_real bias[ECGMOE_QRS_HIDDEN];
    ecgmoe_real out[ECGMOE_QRS_HIDDEN];
    ecgmoe_real out_bias;
} ecgmoe_qrs_network;

/* Names in capitals are those of the module `rating`. */
typedef struct {
    ecgmoe_qrs_network network;
    ecgmoe_real fs;
    ecgmoe_real least_share;       /* LEAST_SHARE */
    ecgmoe_real loud;              /* LOUD */
    ecgmoe_real usual_contrast;    /* USUAL_CONTRAST */
    ecgmoe_real usual_rr_s;        /* USUAL_RR_S */
    ecgmoe_real usual_spread;      /* USUAL_SPREAD */
    ecgmoe_real usual_deviation;   /* USUAL_DEVIATION */
    ecgmoe_real usual_correlation; /* USUAL_CORRELATION */
    ecgmoe_real t_wave_s;          /* T_WAVE_S */
    ecgmoe_real early_s;           /* EARLY_S */
    ecgmoe_real longest_s;         /* LONGEST_S */
    ecgmoe_real most_spread;       /* MOST_SPREAD */
    ecgmoe_real most_over_others;  /* MOST_OVER_OTHERS */
    ecgmoe_real least_rr_share;    /* LEAST_RR_SHARE */
    ecgmoe_real most_log_rr;       /* MOST_LOG_RR */
    ecgmoe_real most_deviation;    /* MOST_DEVIATION */
    ecgmoe_real least_following;   /* LEAST_FOLLOWING */
    int32_t enough_beats;          /* ENOUGH_BEATS */
} ecgmoe_rating_constants;

/* The times of the last beats, by their peaks of energy; shared by all leads. */
typedef struct {
    const ecgmoe_rating_constants *constants;
    int64_t last_at;    /* ECGMOE_NO_SAMPLE before the first beat */
    ecgmoe_real rr_s;   /* median of the recent RR intervals, once there are two; else NaN */
    ecgmoe_real spread; /* standard deviation of ln RR */
    ecgmoe_recent rr;
    ecgmoe_recent log_rr;
} ecgmoe_beat_timing;

void ecgmoe_timing_init(ecgmoe_beat_timing *timing, const ecgmoe_rating_constants *constants);

/* Forget every beat. */
void ecgmoe_timing_restart(ecgmoe_beat_timing *timing);

/* Remember a beat with its peak of energy at sample `at`. */
void ecgmoe_timing_accept(ecgmoe_beat_timing *timing, int64_t at);

/* Rates the candidates of one lead by comparison with its beats before. */
typedef struct {
    const ecgmoe_rating_constants *constants;
    int64_t last_at;           /* where this lead showed the last beat; ECGMOE_NO_SAMPLE if it did not */
    ecgmoe_real last;          /* ln energy of the last beat that this lead showed; NaN if there is none */
    ecgmoe_real level;         /* median of the recent beats' ln energies */
    ecgmoe_real other_level;   /* median of the others; NaN if there are none */
    ecgmoe_real weak;          /* energy below which nothing is a beat, mV/s */
    ecgmoe_recent energies;    /* ln energies of the recent beats */
    ecgmoe_recent others;      /* and of the recent candidates that were no beats */
    ecgmoe_waveforms waveforms; /* of the recent beats */
    uint8_t beats;             /* number of waveforms */
    uint8_t place;             /* of the next waveform */
} ecgmoe_rater;

void ecgmoe_rater_init(ecgmoe_rater *rater, const ecgmoe_rating_constants *constants);

/* Forget every beat. */
void ecgmoe_rater_restart(ecgmoe_rater *rater);

/* Forget all energies, and take `energy`, mV/s, as that of a beat. */
void ecgmoe_rater_learn(ecgmoe_rater *rater, ecgmoe_real energy);

/* Remember a candidate as a beat; NULL for a beat that this lead did not show. */
void ecgmoe_rater_accept(ecgmoe_rater *rater, const ecgmoe_candidate *beat);

/* Remember a candidate as no beat. */
void ecgmoe_rater_reject(ecgmoe_rater *rater, const ecgmoe_candidate *other);

/* Whether a candidate has so little energy that it cannot be a beat. */
static inline bool ecgmoe_rater_is_weak(const ecgmoe_rater *rater, const ecgmoe_candidate *candidate) {
    return candidate->energy < rater->weak;
}

/* Whether it has so much more energy than the recent beats that one of them must be artefacts. */
bool ecgmoe_rater_is_loud(const ecgmoe_rater *rater, const ecgmoe_candidate *candidate);

/* Log odds of a beat if the largest energy after the candidate is `following` times its own. */
ecgmoe_real ecgmoe_rater_log_odds(
    const ecgmoe_rater *rater,
    const ecgmoe_candidate *candidate,
    const ecgmoe_beat_timing *timing,
    ecgmoe_real following);

/* Highest correlation with the recent beats; from four beats on, the second highest. NaN before the first beat. */
ecgmoe_real ecgmoe_rater_recurrence(const ecgmoe_rater *rater, const ecgmoe_candidate *candidate);

#endif

/*
 * R peaks, live, from the candidates of one lead or several.
 * Python: `RPeakDetector` in ecgmoe_edge/streaming/qrs/detector.py, which states the method.
 *
 * For each sample: report what the leads report about it, then call `ecgmoe_detector_run`. What the detector decides is
 * given to a sink at once, in order. One call gives at most ECGMOE_MOST_DECISIONS outputs, all but very few of them at
 * the end of learning.
 */
#ifndef ECGMOE_DETECTOR_H
#define ECGMOE_DETECTOR_H

#include "ecgmoe_lead_panel.h"

/* Possible beats in memory: the rejected ones, and those that are not decided; of each lead at most four, see
 * ECGMOE_LEAD_CANDIDATES. */
#define ECGMOE_MOST_LEVELS 16
#define ECGMOE_POSSIBLE_BEATS (ECGMOE_MOST_REJECTED + 5 * ECGMOE_MAX_LEADS)
#define ECGMOE_MOST_DECISIONS (2 * ECGMOE_POSSIBLE_BEATS) /* each with an R peak and a change of the leads */

/* From an object `detector = RPeakDetector(fs, leads, reach)`; names in capitals are those of its module. */
typedef struct {
    ecgmoe_rating_constants rating;
    ecgmoe_lead_memory_constants lead;
    ecgmoe_lead_panel_constants panel;
    ecgmoe_real fs;
    int32_t reach;        /* finder.reach */
    int32_t refractory;   /* ceil(REFRACTORY_S * fs): the same for a whole number of samples */
    int32_t least_rr;     /* ceil(LEAST_RR_S * fs) */
    int32_t same_beat;    /* round(SAME_BEAT_S * fs) */
    int32_t learning_for; /* round(LEARNING_S * fs) */
    int32_t silence;      /* round(SILENCE_S * fs) */
    int32_t ecg_within;   /* round(NO_ECG_S * fs) */
    ecgmoe_real sure;                 /* SURE */
    ecgmoe_real search_back_rr;       /* SEARCH_BACK_RR */
    ecgmoe_real search_back_log_odds; /* SEARCH_BACK_LOG_ODDS */
    ecgmoe_real silence_log_odds;     /* SILENCE_LOG_ODDS */
    int32_t most_silences;            /* MOST_SILENCES */
} ecgmoe_detector_constants;

/* Takes the outputs: `take(context, output)`. It must not call the detector. */
typedef struct {
    void (*take)(void *context, const ecgmoe_detector_output *output);
    void *context;
} ecgmoe_detector_sink;

typedef struct {
    const ecgmoe_detector_constants *constants;
    ecgmoe_detector_sink sink;
    ecgmoe_lead_panel panel;
    ecgmoe_beat_timing timing;
    int64_t began;        /* sample at which the present chain of beats begins */
    int64_t learning_due; /* ECGMOE_NEVER: the level is learnt, or no lead has a signal */
    int64_t now;
    int64_t last_sample; /* the last R peak */
    int64_t silent_since;
    ecgmoe_possible_beat beats[ECGMOE_POSSIBLE_BEATS];
    uint8_t free[ECGMOE_POSSIBLE_BEATS];     /* indices of possible beats that are not used */
    uint8_t open[ECGMOE_POSSIBLE_BEATS];     /* those that are not decided yet */
    uint8_t rejected[ECGMOE_MOST_REJECTED];  /* rejected since the last beat or the last learning, in this order */
    uint8_t n_free, n_open, n_rejected;
    uint8_t searched; /* number of rejected ones that search-back has examined */
    uint8_t silences; /* since the last beat */
    uint8_t level;    /* of the examination of past candidates again, which can begin within itself; 0: none */
    uint16_t marked;  /* bit k: on level k, the possible beats to be examined before the next candidate are marked */
    int64_t due;      /* as `ecgmoe_detector_due` */
} ecgmoe_detector;

void ecgmoe_detector_init(
    ecgmoe_detector *detector, const ecgmoe_detector_constants *constants, int n_leads, ecgmoe_detector_sink sink);

/* End the signal of all leads; nothing is carried over. */
void ecgmoe_detector_restart(ecgmoe_detector *detector);

/*
 * Reports of the leads, in the order in which they become known; at the same sample, in the order of the leads.
 * `settle` is called for all leads before the candidates of the same sample are reported, since each of them may decide.
 */
void ecgmoe_detector_settle(ecgmoe_detector *detector, int lead, const ecgmoe_following *settled);
void ecgmoe_detector_candidate(ecgmoe_detector *detector, int lead, const ecgmoe_candidate *candidate);
void ecgmoe_detector_end_lead(ecgmoe_detector *detector, int lead, int64_t known_at, ecgmoe_lead_reason reason);
void ecgmoe_detector_begin_lead(ecgmoe_detector *detector, int lead, int64_t at);

/* Decide what is certain once `arrived` samples have arrived. */
void ecgmoe_detector_run_clock(ecgmoe_detector *detector, int64_t arrived);
static inline void ecgmoe_detector_run(ecgmoe_detector *detector, int64_t arrived) {
    if (detector->due <= arrived) {
        ecgmoe_detector_run_clock(detector, arrived);
    }
}

/* Decide all that is open, since the signal has ended after `arrived` samples. */
void ecgmoe_detector_flush(ecgmoe_detector *detector, int64_t arrived);

/* Samples that must have arrived before anything new is certain, if no lead reports anything before that. */
static inline int64_t ecgmoe_detector_due(const ecgmoe_detector *detector) {
    return detector->due;
}

#endif

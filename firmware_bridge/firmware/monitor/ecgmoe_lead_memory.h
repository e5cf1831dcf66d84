/*
 * What the detector remembers of one lead: recent beats, noise between them, and whether it shows an ECG.
 * Python: `LeadMemory` in ecgmoe_edge/streaming/qrs/lead_memory.py.
 *
 * The candidates of the lead are kept here, each in its place from when it is reported until nothing refers to it.
 */
#ifndef ECGMOE_LEAD_MEMORY_H
#define ECGMOE_LEAD_MEMORY_H

#include "ecgmoe_events.h"
#include "ecgmoe_rating.h"

/*
 * Most candidates of one lead. The rejected ones, and those of possible beats that are not decided: candidates are more
 * than 150 ms apart, and one is decided 300 ms after its peak. With one lead, those of the two seconds of learning are
 * fewer than these, and no others exist then. With several leads, a lead may learn for up to four seconds (if the
 * last lead that votes ends) while rejected candidates from its signal before still exist.
 */
#if ECGMOE_MAX_LEADS == 1
#define ECGMOE_LEAD_CANDIDATES (ECGMOE_MOST_REJECTED + 6)
#else
#define ECGMOE_LEAD_CANDIDATES (ECGMOE_MOST_REJECTED + 36)
#endif
#define ECGMOE_NO_PLACE (-1)
#if ECGMOE_LOUD_PEAKS > ECGMOE_QRS_MEMORY
#error "ecgmoe_waveforms has no place for so many loud peaks"
#endif

/* What a candidate in memory is used for. */
enum {
    ECGMOE_PLACE_FREE,
    ECGMOE_PLACE_LEARNING, /* collected while the lead learns */
    ECGMOE_PLACE_STRAY,    /* the last one that belongs to no possible beat */
    ECGMOE_PLACE_IN_BEAT,  /* belongs to a possible beat */
    ECGMOE_PLACE_AGAIN     /* to be examined again; and larger numbers: on a deeper level (detector) */
};

/* From the module `lead_memory`. */
typedef struct {
    ecgmoe_real largest_log_odds; /* LARGEST_LOG_ODDS */
    ecgmoe_real same_kind;        /* SAME_KIND */
    ecgmoe_real alike;            /* ALIKE */
    ecgmoe_real same_waveform;    /* SAME_WAVEFORM */
    ecgmoe_real full_contrast;    /* FULL_CONTRAST */
    ecgmoe_real steep;            /* STEEP */
    ecgmoe_real least_weight;     /* LEAST_WEIGHT */
    ecgmoe_real usual_contrast;   /* USUAL_CONTRAST */
    ecgmoe_real forgotten;        /* FORGOTTEN */
    ecgmoe_real noisy_below;      /* NOISY_BELOW */
    ecgmoe_real clear_above;      /* CLEAR_ABOVE */
    ecgmoe_real newest_share;     /* NEWEST_SHARE */
    ecgmoe_real recurs;           /* RECURS */
    ecgmoe_real same;             /* SAME */
    ecgmoe_real stands_out;       /* STANDS_OUT */
    ecgmoe_real quiet_beside;     /* QUIET_BESIDE */
    ecgmoe_real fastest_s;        /* FASTEST_S */
    ecgmoe_real slowest_s;        /* SLOWEST_S */
    ecgmoe_real floor_mv_s;       /* candidates.FLOOR_MV_S */
    int32_t waves;                /* WAVES */
    int32_t loud_beats;           /* LOUD_BEATS */
    int32_t fewest_shifts;        /* FEWEST_SHIFTS */
    int32_t enough_credit;        /* ENOUGH_CREDIT */
    int32_t most_credit;          /* MOST_CREDIT */
} ecgmoe_lead_memory_constants;

/* What a lead learns about a beat that was just accepted. */
typedef struct {
    int64_t at;       /* sample of the peak of energy; ECGMOE_NO_SAMPLE: no beat */
    int64_t sample;   /* R peak of all leads; ECGMOE_NO_SAMPLE if no lead with an ECG shows the beat */
    ecgmoe_real rr_s; /* NaN if it is unknown */
    bool confirmed;   /* whether another lead, one with an ECG, shows it */
} ecgmoe_accepted_beat;

typedef struct {
    const ecgmoe_lead_memory_constants *constants;
    ecgmoe_rater rater;
    ecgmoe_candidate candidates[ECGMOE_LEAD_CANDIDATES];
    uint8_t places[ECGMOE_LEAD_CANDIDATES]; /* ECGMOE_PLACE_... of each of them */
    int64_t learning_end; /* number of arrived samples until which the first candidates are collected */
    int64_t ecg_deadline; /* number of arrived samples at which it must have shown an ECG */
    ecgmoe_accepted_beat undecided; /* a beat that this lead may still show */
    ecgmoe_waveforms loud;          /* the last loud candidates that were rejected */
    ecgmoe_recent shift;            /* samples from its R peaks to those of all leads */
    ecgmoe_recent between;          /* ln energy of the peaks between beats */
    ecgmoe_real mean_weight;
    ecgmoe_real weight;   /* NaN if it may have changed */
    int8_t stray;         /* place of its last candidate that belongs to no possible beat; ECGMOE_NO_PLACE */
    uint8_t ecg_credit;   /* beats that looked like those of a heart, minus those that did not */
    uint8_t reason;       /* ecgmoe_lead_reason: why it is not usable */
    uint8_t louds, next_loud; /* number of loud waveforms, and place of the next */
    bool present;         /* whether it has a signal */
    bool votes;           /* whether its candidates count */
    bool has_ecg;         /* whether its electrodes have shown an ECG; a gap does not change this */
    bool no_ecg;          /* whether its signal has been present for long without showing an ECG */
    bool noisy;
    bool learning;        /* whether its first candidates are collected */
    bool shows_waves;     /* whether there were enough candidates when its level was learnt */
    bool rejected_any;    /* whether a candidate was rejected since the last beat */
} ecgmoe_lead_memory;

void ecgmoe_lead_memory_init(
    ecgmoe_lead_memory *lead,
    const ecgmoe_lead_memory_constants *constants,
    const ecgmoe_rating_constants *rating);

/* Start a new signal, the first candidates of which are collected until `learning_end` samples have arrived. */
void ecgmoe_lead_begin(ecgmoe_lead_memory *lead, int64_t learning_end);

/* Keep a copy of a candidate, for ECGMOE_PLACE_LEARNING or ECGMOE_PLACE_IN_BEAT; its place, or ECGMOE_NO_PLACE. */
int ecgmoe_lead_keep(ecgmoe_lead_memory *lead, const ecgmoe_candidate *candidate, uint8_t use);

/* Number of candidates that are used so. */
int ecgmoe_lead_count(const ecgmoe_lead_memory *lead, uint8_t use);

/* Learn the level from those candidates that are used so; it is not known whether they are beats. */
void ecgmoe_lead_learn(ecgmoe_lead_memory *lead, uint8_t use);

/* Learn the level again from rejected candidates, those that are used so, if there are any. */
void ecgmoe_lead_learn_again(ecgmoe_lead_memory *lead, uint8_t use);

/* Learn from a beat; `shown` is NULL if this lead does not show it. */
void ecgmoe_lead_accept(ecgmoe_lead_memory *lead, const ecgmoe_accepted_beat *beat, const ecgmoe_candidate *shown);

/* Learn from a beat if this lead does not vote; two candidates of one beat are less than `same_beat` samples apart. */
void ecgmoe_lead_accept_without_vote(ecgmoe_lead_memory *lead, const ecgmoe_accepted_beat *beat, int32_t same_beat);

/* Learn from the candidate in a place of this lead, which does not vote, that belongs to no possible beat. */
void ecgmoe_lead_note_stray(ecgmoe_lead_memory *lead, int place, int32_t same_beat);

/* Learn from a candidate that is no beat. */
void ecgmoe_lead_reject(ecgmoe_lead_memory *lead, const ecgmoe_candidate *shown);

/* Whether so many loud candidates of one waveform were rejected that the level was learnt from noise. */
bool ecgmoe_lead_has_wrong_level(ecgmoe_lead_memory *lead, const ecgmoe_candidate *rejected);

/* Whether a beat is less likely if this lead does not show it; not so if the lead shows nothing at all. */
bool ecgmoe_lead_counts_if_not_shown(const ecgmoe_lead_memory *lead);

/* Note that this lead shows no ECG, until it shows one. */
void ecgmoe_lead_find_no_ecg(ecgmoe_lead_memory *lead);

/* Forget the shift: the R peaks of all leads were those of a lead without an ECG. */
void ecgmoe_lead_forget_shift(ecgmoe_lead_memory *lead);

/* How far the beats stand out from the peaks between them, 0 to 1. */
ecgmoe_real ecgmoe_lead_weight(ecgmoe_lead_memory *lead);

/* Samples from the R peaks of this lead to those of all leads. */
int64_t ecgmoe_lead_common_shift(const ecgmoe_lead_memory *lead);

/* Log odds of a beat by the rating of this lead, limited. */
ecgmoe_real ecgmoe_lead_log_odds(
    const ecgmoe_lead_memory *lead,
    const ecgmoe_candidate *shown,
    const ecgmoe_beat_timing *timing,
    ecgmoe_real following);

/* Whether the lead is quieter on both sides of a candidate. */
bool ecgmoe_lead_is_quiet_beside(const ecgmoe_lead_memory *lead, const ecgmoe_candidate *shown);

/* Whether two of the strongest of those candidates that are used so look the same, as beats do and noise does not. */
bool ecgmoe_lead_has_one_waveform(const ecgmoe_lead_memory *lead, uint8_t use);

#endif

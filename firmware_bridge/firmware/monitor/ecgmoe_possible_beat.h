/*
 * What the detector decides on and what it decides: possible beats, R peaks, and which leads are usable.
 * Python: ecgmoe_edge/streaming/qrs/possible_beat.py.
 */
#ifndef ECGMOE_POSSIBLE_BEAT_H
#define ECGMOE_POSSIBLE_BEAT_H

#include "ecgmoe_lead_memory.h"

/* Candidates of several leads that lie close together. */
typedef struct {
    int64_t at;            /* sample of the peak of energy in the first of them */
    int64_t examine_at;    /* number of arrived samples at which it is examined next */
    int16_t settled_after; /* samples from `at` until the energy after it is known in all of these leads */
    int8_t shown[ECGMOE_MAX_LEADS]; /* place of the candidate in each lead; ECGMOE_NO_PLACE if it does not show it */
    uint8_t voting;        /* bit k: lead k voted when its candidate became known */
    uint8_t level;         /* of `ecgmoe_detector`: on which level of the examination again it is open */
    bool waits;            /* whether it was examined and waits until the energy after it is known */
    bool marked;           /* whether it is to be examined before the next candidate */
} ecgmoe_possible_beat;

static inline int64_t ecgmoe_possible_settled_at(const ecgmoe_possible_beat *possible) {
    return possible->at + possible->settled_after;
}

/* One R peak. */
typedef struct {
    int64_t sample;
    int64_t known_at;
    ecgmoe_real log_odds;   /* of a beat at `known_at` */
    ecgmoe_real recurrence; /* correlation with the beats before, in the lead where it is highest; NaN before any beat */
    bool search_back;
} ecgmoe_rpeak;

/* Which leads are usable. */
typedef struct {
    int64_t known_at;
    int8_t n_order;
    int8_t order[ECGMOE_MAX_LEADS];    /* leads that show an ECG, or all that vote if none does; clear ones first */
    uint8_t clear;                     /* bit k: lead k is clear */
    uint8_t reasons[ECGMOE_MAX_LEADS]; /* ecgmoe_lead_reason: why a lead is not clear; 0 for those that are */
    bool broken;                       /* no lead was left, so no RR interval spans this moment */
} ecgmoe_lead_status;

typedef enum { ECGMOE_DETECTOR_RPEAK, ECGMOE_DETECTOR_STATUS } ecgmoe_detector_output_kind;

typedef struct {
    ecgmoe_detector_output_kind kind;
    union {
        ecgmoe_rpeak rpeak;
        ecgmoe_lead_status status;
    } of;
} ecgmoe_detector_output;

#endif

/*
 * Whether the signal shows an ECG; without one, no alarm begins.
 * Python: ecgmoe_edge/streaming/rhythm/ecg_presence.py.
 */
#ifndef ECGMOE_ECG_PRESENCE_H
#define ECGMOE_ECG_PRESENCE_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

typedef struct {
    ecgmoe_real clear_quality;  /* ecg_presence.CLEAR_QUALITY */
    ecgmoe_real clear_share;    /* ecg_presence.CLEAR_SHARE */
    ecgmoe_real alike;          /* ecg_presence.ALIKE */
    ecgmoe_real largest_spread; /* ecg_presence.LARGEST_SPREAD */
    ecgmoe_real shortest_ms;    /* ecg_presence.SHORTEST_MS */
    ecgmoe_real longest_ms;     /* ecg_presence.LONGEST_MS */
    int32_t fewest_beats;       /* ecg_presence.FEWEST_BEATS */
    int32_t forgotten_beats;    /* ecg_presence.FORGOTTEN_BEATS */
    int32_t fewest_intervals;   /* ecg_presence.FEWEST_INTERVALS */
    int32_t enough_credit;      /* ecg_presence.ENOUGH_CREDIT */
    int32_t most_credit;        /* ecg_presence.MOST_CREDIT */
    int32_t debit;              /* ecg_presence.DEBIT */
    int32_t least_credit;       /* ecg_presence.LEAST_CREDIT */
    int32_t known_credit;       /* ecg_presence.KNOWN_CREDIT */
    int32_t least_credit_known; /* ecg_presence.LEAST_CREDIT_KNOWN */
} ecgmoe_ecg_presence_constants;

typedef struct {
    const ecgmoe_ecg_presence_constants *constants;
    ecgmoe_real log_rr[ECGMOE_RECENT_BEATS]; /* a ring */
    uint32_t clear;                          /* one bit for each recent beat, the newest lowest */
    int32_t credit;
    int32_t since; /* number of beats since the signal last showed an ECG */
    uint8_t first_rr, rr_count;
    uint8_t beats; /* number of recent beats */
    bool known;    /* whether an ECG was present for long */
    bool shown;    /* whether the signal has shown an ECG, though perhaps not now */
} ecgmoe_ecg_presence;

void ecgmoe_ecg_presence_init(ecgmoe_ecg_presence *presence, const ecgmoe_ecg_presence_constants *constants);
/* Forget all beats, since the lead was lost. */
void ecgmoe_ecg_presence_forget(ecgmoe_ecg_presence *presence);
/* Whether the signal has shown an ECG and most of the recent beats are clear. */
bool ecgmoe_ecg_presence_present(const ecgmoe_ecg_presence *presence);
/* Note a beat; returns whether it is clear. An unknown `rr_ms` or `recurrence` is NaN. */
bool ecgmoe_ecg_presence_beat(ecgmoe_ecg_presence *presence, ecgmoe_real quality, ecgmoe_real rr_ms, bool poor,
                              ecgmoe_real recurrence);

#endif

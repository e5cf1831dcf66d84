/*
 * From an R peak to a beat with all that a model needs: windows of the leads that show it, and patient history.
 * Python: ecgmoe_edge/streaming/beat_builder.py.
 *
 * A beat is built in two steps. When it is complete, `ecgmoe_beat_builder_complete` decides which leads show it, and how
 * well; that is all that the front end needs. When its turn comes, `ecgmoe_beat_builder_take` reads its windows from the
 * signal, which has not gone on by then. So no windows wait.
 */
#ifndef ECGMOE_BEAT_BUILDER_H
#define ECGMOE_BEAT_BUILDER_H

#include "ecgmoe_beats.h"
#include "ecgmoe_config.h"
#include "ecgmoe_lead.h"
#include "ecgmoe_lead_history.h"
#include "ecgmoe_possible_beat.h"
#include "ecgmoe_rr_history.h"
#include "ecgmoe_silence.h"
#include "ecgmoe_sizes.h"

typedef struct {
    int32_t after;             /* WindowSampler(fs, grid).after */
    ecgmoe_real good;          /* beat_builder.GOOD */
    ecgmoe_real poor;          /* quality.POOR_QUALITY */
    ecgmoe_real no_ecg_factor; /* beat_builder.NO_ECG_FACTOR */
} ecgmoe_beat_builder_constants;

/* Most beats that are not taken yet: ECGMOE_MOST_WAITING that are not complete, or that became complete at once. */
#define ECGMOE_BUILT_BEATS ECGMOE_MOST_WAITING

/* An R peak with its beat, first without, then with what is known of it when it is complete. */
typedef struct {
    int64_t sample;
    /* Samples from `sample` until the R peak was certain, which `ready_at` depends on. Of a complete beat that no lead
     * shows: until the end of the signal of lead 0, whose window it then gets. */
    int32_t known_after;
    int32_t reported_after; /* the same, or more if samples had to wait, for example for the end of a hole */
    int32_t ready_after;    /* samples from `sample` until the beat was complete */
    int32_t rr;             /* samples; 0 if it is unknown */
    ecgmoe_real recurrence;
    ecgmoe_real quality[ECGMOE_MAX_LEADS]; /* of each view */
    int8_t lead[ECGMOE_MAX_LEADS];         /* of each view, in the order in which they are preferred */
    int8_t n_views;
    uint8_t no_qrs_in; /* bit i: view i shows no QRS complex */
    bool search_back;
    bool no_qrs;
} ecgmoe_built_beat;

typedef struct {
    const ecgmoe_beat_builder_constants *constants;
    ecgmoe_lead_history histories[ECGMOE_MAX_LEADS];
    ecgmoe_rr_history rr_history;
    ecgmoe_built_beat beats[ECGMOE_BUILT_BEATS]; /* a ring: complete ones, then those that are not complete */
    int64_t last_ready;                         /* `ready_at` of the last complete beat */
    int64_t due; /* samples that must have arrived before the next beat is complete; ECGMOE_NEVER without one */
    uint8_t first, n_complete, n_waiting;
    int8_t n_leads;
    int8_t n_order;
    int8_t order[ECGMOE_MAX_LEADS]; /* leads for the next beats, in the order in which they are preferred */
    uint8_t no_ecg;                 /* bit k: lead k shows no ECG */
    bool was_poor;                  /* whether the last beat was poor */
    bool peaks_only;                /* neither windows nor features are wanted */
    uint16_t dropped;               /* beats for which there was no room: 0, unless the bound above is wrong */
} ecgmoe_beat_builder;

void ecgmoe_beat_builder_init(ecgmoe_beat_builder *b, const ecgmoe_beat_builder_constants *constants,
                              const ecgmoe_rr_history_constants *rr, const ecgmoe_lead_history_constants *history,
                              int n_leads, bool peaks_only);
/* Set the leads for the next beats, and those that show no ECG (bit k: lead k). */
void ecgmoe_beat_builder_use(ecgmoe_beat_builder *b, const int8_t *order, int n, uint8_t no_ecg);
/* Add the next R peak, certain at `known_at`; `reported_at`: the same, or later if samples had to wait. */
void ecgmoe_beat_builder_add(ecgmoe_beat_builder *b, const ecgmoe_rpeak *peak, int32_t rr, int64_t reported_at);
/* Complete the next beat; its `ready_at` is at most `latest`. */
const ecgmoe_built_beat *ecgmoe_beat_builder_complete(ecgmoe_beat_builder *b, ecgmoe_lead_signal *leads,
                                                      int64_t latest);
/* Take the first complete beat: add its windows and the patient history, and add it to that history. */
void ecgmoe_beat_builder_take(ecgmoe_beat_builder *b, const ecgmoe_lead_signal *leads, ecgmoe_beat *out);

#endif

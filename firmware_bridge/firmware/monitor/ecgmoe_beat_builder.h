/*
 * From an R peak to a beat with all that a model needs: windows of the leads that show it, and patient history.
 * Python: ecgmoe_edge/streaming/beat_builder.py.
 *
 * A beat is built in two steps. When it is complete, `ecgmoe_beat_builder_complete` decides which leads show it, and how
 * well; that is all that the front end needs. When it is taken from the queue, `ecgmoe_beat_builder_finish` reads its
 * windows from the signal, which has not gone on by then. So the queue holds no windows.
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

/* An R peak whose beat is not complete yet. */
typedef struct {
    int64_t sample;
    int64_t known_at;    /* of the R peak, which `ready_at` depends on */
    int64_t reported_at; /* the same, or later if samples had to wait, for example for the end of a hole */
    ecgmoe_real recurrence;
    int32_t rr; /* samples; 0 if it is unknown */
    bool search_back;
} ecgmoe_waiting_beat;

/* A complete beat without its windows. */
typedef struct {
    int64_t sample;
    int64_t known_at;
    int64_t ready_at;
    ecgmoe_real recurrence;
    ecgmoe_real quality[ECGMOE_MAX_LEADS]; /* of each view */
    int32_t rr;
    int8_t n_views;
    int8_t lead[ECGMOE_MAX_LEADS]; /* of each view, in the order in which they are preferred */
    bool no_qrs_in[ECGMOE_MAX_LEADS];
    bool search_back;
    bool no_qrs;
} ecgmoe_complete_beat;

typedef struct {
    const ecgmoe_beat_builder_constants *constants;
    ecgmoe_lead_history histories[ECGMOE_MAX_LEADS];
    ecgmoe_rr_history rr_history;
    ecgmoe_waiting_beat waiting[ECGMOE_MOST_WAITING]; /* a ring */
    int64_t last_ready;                               /* `ready_at` of the last beat */
    uint8_t first, n_waiting;
    int8_t n_leads;
    int8_t n_order;
    int8_t order[ECGMOE_MAX_LEADS]; /* leads for the next beats, in the order in which they are preferred */
    uint8_t no_ecg;                 /* bit k: lead k shows no ECG */
    bool was_poor;                  /* whether the last beat was poor */
    bool peaks_only;                /* neither windows nor features are wanted */
} ecgmoe_beat_builder;

void ecgmoe_beat_builder_init(ecgmoe_beat_builder *b, const ecgmoe_beat_builder_constants *constants,
                              const ecgmoe_rr_history_constants *rr, const ecgmoe_lead_history_constants *history,
                              int n_leads, bool peaks_only);
/* Set the leads for the next beats, and those that show no ECG (bit k: lead k). */
void ecgmoe_beat_builder_use(ecgmoe_beat_builder *b, const int8_t *order, int n, uint8_t no_ecg);
/* Add the next R peak. There is always room: see ECGMOE_MOST_WAITING. */
void ecgmoe_beat_builder_add(ecgmoe_beat_builder *b, const ecgmoe_waiting_beat *beat);
/* Samples that must have arrived before the next beat is complete; ECGMOE_NEVER without one. */
int64_t ecgmoe_beat_builder_due(const ecgmoe_beat_builder *b);
/* Take the next beat, whose `ready_at` is at most `latest`, from those that wait. */
void ecgmoe_beat_builder_complete(ecgmoe_beat_builder *b, ecgmoe_lead_signal *leads, int64_t latest,
                                  ecgmoe_complete_beat *out);
/* Add the windows and the patient history to a beat, and the beat to that history; in the order of the beats. */
void ecgmoe_beat_builder_finish(ecgmoe_beat_builder *b, const ecgmoe_lead_signal *leads,
                                const ecgmoe_complete_beat *beat, ecgmoe_beat *out);

#endif

/*
 * The front end: from the samples of all leads to beats with all that a model needs.
 * Python: ecgmoe_edge/streaming/frontend.py.
 *
 * Samples are taken one at a time, of all leads. What they make certain is taken by `ecgmoe_front_end_next` until it
 * returns false, before the next sample, gap, change of lead-off or end:
 *
 *     ecgmoe_front_end_push(&f, sample);
 *     while (ecgmoe_front_end_next(&f, &item, &beat)) ...
 *
 * A caller with many samples gives them to `ecgmoe_front_end_push_some`, which is faster.
 *
 * The work is done in `next`: the samples that wait for the end of a hole or of a possible pacing spike are processed one
 * by one, each when the items of the one before are taken. So the queue holds the items of one sample.
 */
#ifndef ECGMOE_FRONT_END_H
#define ECGMOE_FRONT_END_H

#include "ecgmoe_beat_builder.h"
#include "ecgmoe_detector.h"
#include "ecgmoe_intake.h"
#include "ecgmoe_item_queue.h"
#include "ecgmoe_lead.h"
#include "ecgmoe_silence.h"
#include "ecgmoe_tables.h"
#include "ecgmoe_unusable.h"

/* What is done once all samples so far are processed and their items taken. */
typedef enum {
    ECGMOE_TASK_NONE,
    ECGMOE_TASK_LEAD_OFF, /* use `off_next` */
    ECGMOE_TASK_END,      /* end the signal */
    ECGMOE_TASK_RESTART   /* begin a new one, after the `gap` if it is one */
} ecgmoe_task;

#if ECGMOE_AHEAD > 0
/* Samples that are filtered and not taken yet. */
typedef struct {
    ecgmoe_lead_ahead leads[ECGMOE_MAX_LEADS];
    int32_t count, next;
    uint8_t examined; /* bit k: flatline and clipping are detected in all these samples of lead k */
} ecgmoe_samples_ahead;
#endif

#if ECGMOE_MAX_LEADS > 1
/* Candidates of one sample, before they are reported to the detector in the order of their `known_at`. A lead has more
 * than one only when a second of signal was kept back until its hum was known, or when its signal breaks off. */
#define ECGMOE_MOST_FOUND (10 * ECGMOE_MAX_LEADS)
typedef struct {
    ecgmoe_candidate candidates[ECGMOE_MOST_FOUND];
    int8_t leads[ECGMOE_MOST_FOUND];
    int count;
} ecgmoe_found;
#endif

typedef struct {
    const ecgmoe_tables *tables;
    ecgmoe_lead_signal leads[ECGMOE_MAX_LEADS];
    ecgmoe_intake intake;
    ecgmoe_detector detector;
    ecgmoe_beat_builder builder;
    ecgmoe_silence_clock silence;
    ecgmoe_unusable_run unusable;
    int64_t position;    /* number of samples processed */
    int64_t chain_start; /* first sample of the present chain of beats */
    int64_t last_r;      /* R peak with which the next RR interval begins; -1 for none */
    int64_t silence_due; /* of `silence` */
    int64_t signal_end;  /* end of the signal (exclusive) if no lead is left */
    /* The leads as last reported, clear ones and the reasons of the others; the leads without an ECG. */
    ecgmoe_lead_change reported;
    uint8_t no_ecg;
    uint8_t off, usable; /* bit k: lead k is off; its samples are usable at present */
    int8_t n_leads;
    ecgmoe_task task;
    ecgmoe_gap gap;
    bool has_gap;
    int32_t lost_left; /* samples of a short hole that are still to be passed on */
    uint8_t off_next;
    bool quiet; /* changes of the leads are not reported: the signal ends */
    ecgmoe_item_queue queue;
#if ECGMOE_MAX_LEADS > 1
    ecgmoe_found found;
#endif
#if ECGMOE_AHEAD > 0
    ecgmoe_samples_ahead ahead;
#endif
} ecgmoe_front_end;

/* `peaks_only`: neither windows nor features are wanted. The tables stay where they are while the front end runs. */
void ecgmoe_front_end_init(ecgmoe_front_end *f, const ecgmoe_tables *tables, int n_leads, bool peaks_only);
/* Number of the next sample, lost samples included. */
int64_t ecgmoe_front_end_position(const ecgmoe_front_end *f);
/* Take the next sample of all leads, mV. NaN and values beyond `unusable.LARGEST_MV` are unusable. */
void ecgmoe_front_end_push(ecgmoe_front_end *f, const ecgmoe_real *sample);
/* Take some of the next `n` (at least one) samples together: sample i of lead k is `samples[k * stride + i]`. Returns how
 * many: at most ECGMOE_AHEAD, and one if ordinary samples do not follow. The events are those of `push`, which takes
 * longer for many samples. */
int32_t ecgmoe_front_end_push_some(ecgmoe_front_end *f, const double *samples, ptrdiff_t stride, ptrdiff_t n);
/* Note that samples never arrived: `lost`, or -1 if the number is unknown; `at_least`: it is a lower limit. */
void ecgmoe_front_end_gap(ecgmoe_front_end *f, int64_t lost, ecgmoe_gap_reason reason, bool at_least);
/* Set which leads are off from the next sample on; bit k: lead k. */
void ecgmoe_front_end_lead_off(ecgmoe_front_end *f, uint8_t mask);
/* End the signal; beats without their full window are not `complete`. */
void ecgmoe_front_end_flush(ecgmoe_front_end *f);
/* Take the next item; `beat` is filled if it is one. Returns false if there is none until the next sample. */
bool ecgmoe_front_end_next(ecgmoe_front_end *f, ecgmoe_item *item, ecgmoe_beat *beat);

#endif

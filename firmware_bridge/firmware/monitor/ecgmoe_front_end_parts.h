/* What the two source files of the front end share; of no use outside. */
#ifndef ECGMOE_FRONT_END_PARTS_H
#define ECGMOE_FRONT_END_PARTS_H

#include "ecgmoe_front_end.h"

/* Whether a lead is in a mask. */
static inline bool has(uint8_t leads, int lead) {
    return (leads >> lead & 1) != 0;
}

/* The lead of an event: none is named if there is only one. */
static inline int8_t named(const ecgmoe_front_end *f, int lead) {
    return (int8_t)(f->n_leads > 1 ? lead : ECGMOE_ABSENT);
}

/* Queue a flatline or clipping on a lead. */
void ecgmoe_front_end_put_flatline(ecgmoe_front_end *f, int lead, const ecgmoe_flatline_report *report, int64_t known_at,
                                   ecgmoe_item_order order);
#if ECGMOE_AHEAD > 0
/* Process the next sample that was filtered ahead. */
void ecgmoe_front_end_process_ahead(ecgmoe_front_end *f);
#endif
/* Queue the limits that pass without an R peak until `arrived` samples have arrived. */
void ecgmoe_front_end_add_silence(ecgmoe_front_end *f, int64_t arrived);
/* Queue the beats with a `ready_at` of less than `arrived`. */
void ecgmoe_front_end_complete_before(ecgmoe_front_end *f, int64_t arrived);
/* Queue all beats, since the signal ends after `arrived` samples. */
void ecgmoe_front_end_complete_all(ecgmoe_front_end *f, int64_t arrived);
/* Report that no lead has a signal from `sample` on. */
void ecgmoe_front_end_end_signal(ecgmoe_front_end *f, int64_t sample, int64_t known_at, bool lead_lost);
/* The sink of the detector. */
void ecgmoe_front_end_take_output(void *context, const ecgmoe_detector_output *output);
/* Take what became known about lead `k`, by flags of ECGMOE_CANDIDATE_... */
void ecgmoe_front_end_take_found(ecgmoe_front_end *f, int k, unsigned flags, const ecgmoe_candidate *found,
                                 const ecgmoe_following *settled);
/* Take what the newest samples of lead `k` made known. */
void ecgmoe_front_end_collect_found(ecgmoe_front_end *f, int k);
/* Take the remaining candidates of lead `k` when no more samples come, which is certain at `known_at`. */
void ecgmoe_front_end_break_off(ecgmoe_front_end *f, int k, int64_t known_at);
/* Report the candidates to the detector, each once: `sorted`, the earliest known first, else in the order of the leads.
 * With one lead they were reported when they were found. */
void ecgmoe_front_end_report_found(ecgmoe_front_end *f, bool sorted);

/* Decide what is certain by the candidates of sample `at` and of those before it. */
static inline void decide_sample(ecgmoe_front_end *f, int64_t at) {
    f->position = at + 1;
#if ECGMOE_MAX_LEADS > 1
    if (f->found.count)
        ecgmoe_front_end_report_found(f, true);
#endif
    ecgmoe_detector_run(&f->detector, f->position);
    if (f->builder.due < f->position + 1)
        ecgmoe_front_end_complete_before(f, f->position + 1);
}

/* Queue what is due after sample `at`, in order. */
static inline void finish_sample(ecgmoe_front_end *f, int64_t at) {
    f->position = at + 1;
    if (f->builder.due < at + 2)
        ecgmoe_front_end_complete_before(f, at + 2);
    if (f->silence_due <= at + 1)
        ecgmoe_front_end_add_silence(f, at + 1);
    if (f->queue.count > 1)
        ecgmoe_queue_sort(&f->queue);
}

#endif

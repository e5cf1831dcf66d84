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
/* Take what the newest samples of lead `k` made known. */
void ecgmoe_front_end_collect_found(ecgmoe_front_end *f, int k);
/* Take the remaining candidates of lead `k` when no more samples come, which is certain at `known_at`. */
void ecgmoe_front_end_break_off(ecgmoe_front_end *f, int k, int64_t known_at);
/* Report the candidates to the detector, each once: `sorted`, the earliest known first, else in the order of the leads.
 * With one lead they were reported when they were found. */
void ecgmoe_front_end_report_found(ecgmoe_front_end *f, bool sorted);

#endif

/*
 * The rhythm by the model's scores, averaged over beats; no atrial fibrillation if RR intervals vary smoothly.
 * Python: ecgmoe_edge/streaming/rhythm/model_rhythm.py.
 */
#ifndef ECGMOE_MODEL_RHYTHM_H
#define ECGMOE_MODEL_RHYTHM_H

#include "ecgmoe_alarms.h"
#include "ecgmoe_model_tasks.h"
#include "ecgmoe_predictability.h"

typedef struct {
    int32_t score_memory; /* model_rhythm.SCORE_MEMORY */
    int32_t fewest_rr;    /* model_rhythm.FEWEST_RR */
    int32_t hold_beats;   /* model_rhythm.HOLD_BEATS */
    ecgmoe_predictability_constants predictability;
} ecgmoe_model_rhythm_constants;

typedef struct {
    const ecgmoe_model_rhythm_constants *constants;
    const ecgmoe_model_tasks *tasks;
    ecgmoe_real scores[ECGMOE_MOST_CLASSES];
    ecgmoe_alarm current; /* the reported rhythm; `lasts` is false if there is none */
    double since_s;       /* when the rhythm with the highest mean score began to lead */
    int32_t seen, beats;  /* `beats`: for how many beats it leads; `seen` counts to `score_memory` */
    int8_t leading;       /* rhythm with the highest mean score; ECGMOE_ABSENT before the first beat */
    ecgmoe_predictability intervals;
} ecgmoe_model_rhythm;

void ecgmoe_model_rhythm_init(ecgmoe_model_rhythm *rhythm, const ecgmoe_model_rhythm_constants *constants,
                              const ecgmoe_model_tasks *tasks);
void ecgmoe_model_rhythm_beat(ecgmoe_model_rhythm *rhythm, double time_s, const float *logits, bool may_begin,
                              ecgmoe_rhythm_list *out);
/* Add an RR interval between two clear beats; a break of the signal does not clear the intervals. */
void ecgmoe_model_rhythm_add_rr(ecgmoe_model_rhythm *rhythm, double rr_ms);
void ecgmoe_model_rhythm_end(ecgmoe_model_rhythm *rhythm, double at_s, ecgmoe_rhythm_list *out);

#endif

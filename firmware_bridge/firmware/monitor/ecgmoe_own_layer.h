/*
 * The patient's own layer: a correction of the beat logits that is fitted to labelled beats of one patient.
 * Python: ecgmoe_edge/streaming/patient/own_layer.py.
 */
#ifndef ECGMOE_OWN_LAYER_H
#define ECGMOE_OWN_LAYER_H

#include "ecgmoe_beats.h"
#include "ecgmoe_model_tasks.h"

typedef struct {
    int32_t columns[ECGMOE_LAYER_CLASSES]; /* classes.index(name) for the names of own_layer.LAYER_CLASSES */
    int32_t every;                         /* own_layer.EVERY */
    ecgmoe_real window_scale;              /* own_layer.WINDOW_SCALE */
    ecgmoe_real log_probability_scale;     /* own_layer.LOG_PROBABILITY_SCALE */
    ecgmoe_real least_log_probability;     /* own_layer.LEAST_LOG_PROBABILITY */
} ecgmoe_own_layer_constants;

/* The layers of one patient; they stay where they are while the monitor runs. */
typedef struct {
    /* For each lead of the monitor, its matrix (ECGMOE_LAYER_INPUTS, ECGMOE_LAYER_CLASSES), row by row; NULL for
     * none. */
    const ecgmoe_real *weights[ECGMOE_MAX_LEADS];
    int32_t first_lead; /* lead of the monitor that is the first one of the layer: that of a beat without a lead */
    ecgmoe_real margin_share_s; /* constant of the decision rule in place of the model's; NaN for the model's */
} ecgmoe_own_layer;

/* Write the logits (n_views, n_classes) of a beat with the layer of each lead added; `own` may be `logits`. */
void ecgmoe_own_layer_adapt(const ecgmoe_own_layer *layer, const ecgmoe_own_layer_constants *constants,
                            const ecgmoe_model_tasks *tasks, const ecgmoe_beat *beat, const float *logits, float *own);

#endif

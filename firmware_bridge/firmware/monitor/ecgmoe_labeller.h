/*
 * From the outputs of a model to labels and rhythm: the last stage, with its own patient history.
 * Python: ecgmoe_edge/streaming/labeller.py.
 */
#ifndef ECGMOE_LABELLER_H
#define ECGMOE_LABELLER_H

#include "ecgmoe_decision.h"
#include "ecgmoe_items.h"
#include "ecgmoe_model_faults.h"
#include "ecgmoe_own_layer.h"
#include "ecgmoe_tracker.h"

/* Without it, there is no patient's own layer, and its second patient history takes no memory. */
#ifndef ECGMOE_PATIENT_LAYER
#define ECGMOE_PATIENT_LAYER 1
#endif

/* Events of one item: the beat, a fault of the model, and rhythms. */
#define ECGMOE_MOST_ITEM_EVENTS (2 + ECGMOE_MOST_RHYTHM_EVENTS)

typedef struct {
    double fs;                /* Hz */
    ecgmoe_real poor_quality; /* quality.POOR_QUALITY */
    ecgmoe_model_tasks tasks;
    ecgmoe_decision_rule rule;
    ecgmoe_decision_constants decision;
    ecgmoe_own_layer_constants own_layer;
    ecgmoe_tracker_constants rhythm;
    ecgmoe_model_faults_constants faults;
} ecgmoe_labeller_constants;

typedef struct {
    const ecgmoe_labeller_constants *constants;
    ecgmoe_decision decision;
#if ECGMOE_PATIENT_LAYER
    const ecgmoe_own_layer *layer; /* NULL without one */
    ecgmoe_decision own_decision;
    bool layer_active; /* whether the layer decides the labels; it may be changed between two beats */
#endif
    ecgmoe_tracker rhythm;
    ecgmoe_model_faults faults;
} ecgmoe_labeller;

void ecgmoe_labeller_init(ecgmoe_labeller *labeller, const ecgmoe_labeller_constants *constants);
#if ECGMOE_PATIENT_LAYER
/* Use the patient's own layer; call it after `ecgmoe_labeller_init` and before the first beat. */
void ecgmoe_labeller_use_layer(ecgmoe_labeller *labeller, const ecgmoe_own_layer *layer);
#endif
/*
 * Write the events of one item to `out`, and return their number. `beat`: only for an ECGMOE_ITEM_BEAT. `answer`: that
 * of the model for this beat; NULL without a model.
 */
int ecgmoe_labeller_take(ecgmoe_labeller *labeller, const ecgmoe_item *item, const ecgmoe_beat *beat,
                         const ecgmoe_answer *answer, ecgmoe_event out[ECGMOE_MOST_ITEM_EVENTS]);
/* Write the remaining event at the end of the stream, if there is one; return its number, 0 or 1. */
int ecgmoe_labeller_flush(ecgmoe_labeller *labeller, ecgmoe_event *out);

#endif

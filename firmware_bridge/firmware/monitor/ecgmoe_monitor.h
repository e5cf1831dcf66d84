/*
 * The live monitor: samples in, events out, beat by beat. Python: ecgmoe_edge/streaming/monitor.py.
 *
 * All state is in one struct; there is no allocation. Constants come from generated tables (see README.md). After each
 * sample, take what it made certain, until there is nothing more:
 *
 *     ecgmoe_monitor_init(&monitor, &tables, 1, false);
 *     for each sample of all leads, in mV:
 *         ecgmoe_monitor_push(&monitor, sample);
 *         while ((step = ecgmoe_monitor_next(&monitor, &event)) != ECGMOE_NOTHING) {
 *             if (step == ECGMOE_PENDING)
 *                 ecgmoe_monitor_answer(&monitor, my_model(ecgmoe_monitor_pending(&monitor)));
 *             else
 *                 report(&event);
 *         }
 *
 * `ecgmoe_monitor_run` does the same with a model that is linked with the program. The same loop follows `gap`,
 * `lead_off` and `flush`. A call of one of these functions before `next` has returned ECGMOE_NOTHING is a mistake of the
 * caller: it is refused.
 */
#ifndef ECGMOE_MONITOR_H
#define ECGMOE_MONITOR_H

#include "ecgmoe_front_end.h"
#include "ecgmoe_labeller.h"
#include "ecgmoe_tables.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    ECGMOE_NOTHING, /* nothing until the next sample */
    ECGMOE_PENDING, /* a beat waits for the answer of the model */
    ECGMOE_EVENT    /* an event was written */
} ecgmoe_step;

/* A model that is linked with the program: writes its outputs for the inputs of a beat. */
typedef void (*ecgmoe_model)(void *context, const ecgmoe_beat *beat, ecgmoe_answer *answer);

typedef struct {
    ecgmoe_front_end front_end;
    ecgmoe_labeller labeller;
#if ECGMOE_PATIENT_LAYER
    const ecgmoe_own_layer *layer; /* NULL without one */
#endif
    const ecgmoe_tables *tables;
    ecgmoe_beat beat;
    /* The events of one item that are not taken yet: one of any kind, a fault of the model, and rhythms. */
    ecgmoe_event first;
    ecgmoe_model_fault fault;
    int64_t fault_at;
    ecgmoe_rhythm rhythms[ECGMOE_MOST_RHYTHM_EVENTS];
    int8_t n_rhythms, taken;
    bool has_first, has_fault;
    int8_t n_leads;
    bool peaks_only;
    bool pending; /* `beat` waits for its answer */
    bool ending;  /* the stream ends */
    bool busy;    /* `next` has not returned ECGMOE_NOTHING yet */
} ecgmoe_monitor;

/*
 * Start a stream. `peaks_only`: without a model, R peaks only. The tables stay where they are while the monitor runs.
 * Returns false if the tables are for a higher rate, or the leads are more, than this program has room for.
 */
bool ecgmoe_monitor_init(ecgmoe_monitor *m, const ecgmoe_tables *tables, int n_leads, bool peaks_only);
/* Forget stream and patient; the next sample is sample 0 of another patient. The patient's layer is kept. */
void ecgmoe_monitor_reset(ecgmoe_monitor *m);
#if ECGMOE_PATIENT_LAYER
/* Use the patient's own layer; before the first sample. */
void ecgmoe_monitor_use_layer(ecgmoe_monitor *m, const ecgmoe_own_layer *layer);
/* Switch the layer on or off, from the next beat on. */
void ecgmoe_monitor_set_layer_active(ecgmoe_monitor *m, bool active);
#endif

/* Each returns false, and does nothing, if `next` has still something to give. */
bool ecgmoe_monitor_push(ecgmoe_monitor *m, const ecgmoe_real *sample); /* of all leads, mV; NaN if it is unusable */
bool ecgmoe_monitor_gap(ecgmoe_monitor *m, int64_t lost, ecgmoe_gap_reason reason, bool at_least); /* lost -1: unknown */
bool ecgmoe_monitor_lead_off(ecgmoe_monitor *m, uint8_t mask); /* bit k: lead k is off */
bool ecgmoe_monitor_flush(ecgmoe_monitor *m);                  /* the stream ends */

/* Go on until there is an event, a beat that waits for the model, or nothing more. */
ecgmoe_step ecgmoe_monitor_next(ecgmoe_monitor *m, ecgmoe_event *event);
/* The beat that waits, with the inputs of the model: `views[k].beat`, `views[k].features`, `rr_sequence`. */
static inline const ecgmoe_beat *ecgmoe_monitor_pending(const ecgmoe_monitor *m) {
    return &m->beat;
}
/* The outputs of the model for the beat that waits. */
void ecgmoe_monitor_answer(ecgmoe_monitor *m, const ecgmoe_answer *answer);
/* As `next`, with a model that answers at once. Returns whether there is an event. */
bool ecgmoe_monitor_run(ecgmoe_monitor *m, ecgmoe_model model, void *context, ecgmoe_event *event);

#ifdef __cplusplus
}
#endif

#endif

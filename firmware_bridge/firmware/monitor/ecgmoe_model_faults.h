/*
 * Beats with unusable outputs of the model (NaN, infinite, beyond the limit): reported at most once a minute.
 * Python: ecgmoe_edge/streaming/model_faults.py.
 */
#ifndef ECGMOE_MODEL_FAULTS_H
#define ECGMOE_MODEL_FAULTS_H

#include "ecgmoe_events.h"

typedef struct {
    int64_t report; /* samples: model_faults.REPORT_S * fs, rounded up */
} ecgmoe_model_faults_constants;

typedef struct {
    const ecgmoe_model_faults_constants *constants;
    int64_t reported; /* sample of the last event; -1 before it */
    int64_t sample;   /* R peak of the latest of these beats */
    ecgmoe_model_fault fault; /* what is not reported yet */
} ecgmoe_model_faults;

void ecgmoe_model_faults_init(ecgmoe_model_faults *faults, const ecgmoe_model_faults_constants *constants);
/* Count a beat with its R peak at `sample`. Returns whether an event is due, which is then written to `out`. */
bool ecgmoe_model_faults_add(ecgmoe_model_faults *faults, int64_t sample, const int8_t *outputs, int n_outputs,
                             ecgmoe_event *out);
/* The same for the beats that are not reported yet, at the end. */
bool ecgmoe_model_faults_flush(ecgmoe_model_faults *faults, ecgmoe_event *out);

#endif

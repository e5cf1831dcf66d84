#include "ecgmoe_model_faults.h"

#include <string.h>

void ecgmoe_model_faults_init(ecgmoe_model_faults *faults, const ecgmoe_model_faults_constants *constants) {
    memset(faults, 0, sizeof *faults);
    faults->constants = constants;
    faults->reported = -1;
}

static void add_output(ecgmoe_model_fault *fault, int8_t output) {
    for (int8_t k = 0; k < fault->n_outputs; k++)
        if (fault->outputs[k] == output)
            return;
    fault->outputs[fault->n_outputs++] = output;
}

bool ecgmoe_model_faults_add(ecgmoe_model_faults *faults, int64_t sample, const int8_t *outputs, int n_outputs,
                             ecgmoe_event *out) {
    faults->fault.beats++;
    faults->sample = sample;
    for (int k = 0; k < n_outputs; k++)
        add_output(&faults->fault, outputs[k]);
    if (faults->reported >= 0 && sample - faults->reported < faults->constants->report)
        return false;
    return ecgmoe_model_faults_flush(faults, out);
}

bool ecgmoe_model_faults_flush(ecgmoe_model_faults *faults, ecgmoe_event *out) {
    if (faults->fault.beats == 0)
        return false;
    out->kind = ECGMOE_EVENT_MODEL_FAULT;
    out->sample = faults->sample;
    out->of.model_fault = faults->fault;
    faults->reported = faults->sample;
    memset(&faults->fault, 0, sizeof faults->fault);
    return true;
}

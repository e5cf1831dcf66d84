#include "ecgmoe_model_tasks.h"

int ecgmoe_unusable_outputs(const ecgmoe_model_tasks *tasks, const ecgmoe_answer *answer, int leads,
                            int8_t unusable[ECGMOE_MOST_OUTPUTS]) {
    int count = 0;
    float limit = (float)tasks->largest_answer;
    for (int32_t k = 0; k < tasks->n_outputs; k++) {
        int32_t bad = 0;
        for (int32_t i = 0; i < leads * tasks->width[k]; i++)
            bad += !(fabsf(answer->outputs[k][i]) <= limit); /* also NaN, which compares as false */
        if (bad > 0)
            unusable[count++] = (int8_t)k;
    }
    return count;
}

int ecgmoe_argmax_float(const float *values, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        best = values[i] > values[best] ? i : best;
    return best;
}

#include "ecgmoe_windows.h"

void ecgmoe_window_read(const ecgmoe_window_constants *c, const ecgmoe_history *signal, int64_t r, int64_t stop,
                        float *window) {
    for (int32_t k = 0; k < c->points; k++) {
        ecgmoe_real sum = ECGMOE_R(0.0);
        for (int32_t j = 0; j < 4; j++) {
            int32_t at = c->first[k] + j;
            /* Beyond these ends, the weight is zero. */
            at = at < -c->before ? -c->before : at > c->after ? c->after : at;
            ecgmoe_real value = r + at < stop ? ecgmoe_history_or_zero(signal, r + at) : ECGMOE_R(0.0);
            ecgmoe_real part = value * c->weights[k][j];
            sum = j > 0 ? sum + part : part;
        }
        window[k] = (float)sum;
    }
}

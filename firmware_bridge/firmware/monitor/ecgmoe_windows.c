#include "ecgmoe_windows.h"

/* The same for a window of which all samples are kept. */
static void read_kept(const ecgmoe_window_constants *c, const ecgmoe_history *signal, int64_t r, float *window) {
    const int32_t age = (int32_t)(signal->stop - r);
    for (int32_t k = 0; k < c->points; k++) {
        ecgmoe_real sum = ECGMOE_R(0.0);
        for (int32_t j = 0; j < 4; j++) {
            int32_t at = c->first[k] + j;
            at = at < -c->before ? -c->before : at > c->after ? c->after : at; /* beyond, the weight is zero */
            int32_t place = ecgmoe_ring_position(signal->next, age - at, ECGMOE_EXACT_SAMPLES + 1);
            ecgmoe_real part = signal->data[place] * c->weights[k][j];
            sum = j > 0 ? sum + part : part;
        }
        window[k] = (float)sum;
    }
}

void ecgmoe_window_read(const ecgmoe_window_constants *c, const ecgmoe_history *signal, int64_t r, int64_t stop,
                        float *window) {
    int64_t exact = ecgmoe_max_i64(signal->first, signal->stop - ECGMOE_EXACT_SAMPLES);
    if (exact <= r - c->before && r + c->after < ecgmoe_min_i64(stop, signal->stop)) {
        read_kept(c, signal, r, window);
        return;
    }
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

#include "ecgmoe_pacing.h"

#include <string.h>

void ecgmoe_pacing_init(ecgmoe_pacing *p, const ecgmoe_pacing_constants *constants, int n_leads) {
    memset(p, 0, sizeof *p);
    p->constants = constants;
    p->n_leads = (int8_t)n_leads;
    ecgmoe_pacing_restart(p, 0);
}

void ecgmoe_pacing_restart(ecgmoe_pacing *p, int64_t at) {
    p->start = p->stop = at;
    for (int k = 0; k < p->n_leads; k++) {
        p->at[k] = at;
        p->n_spikes[k] = 0;
    }
    p->n_all_spikes = 0;
}

/* |difference| of a sample from the one before; an unusable sample begins no spike. */
static ecgmoe_real step_at(const ecgmoe_real *x, int64_t sample) {
    ecgmoe_real step = ecgmoe_fabs(x[ecgmoe_waiting_place(sample)] - x[ecgmoe_waiting_place(sample - 1)]);
    return step < ECGMOE_INFINITY ? step : ECGMOE_R(0.0);
}

/* Whether the signal was quiet before a steep step. */
static bool after_quiet(const ecgmoe_pacing *p, const ecgmoe_real *x, int64_t sample, ecgmoe_real step) {
    if (sample - p->start <= p->constants->quiet)
        return false;
    for (int32_t i = 1; i <= p->constants->quiet; i++)
        if (!(p->constants->contrast * step_at(x, sample - i) <= step))
            return false;
    return true;
}

/* The number of samples after which the signal is back from a step; 0 if it is not, as far as it has arrived.
 * top: the largest deflection of these samples. */
static int32_t back_after(const ecgmoe_pacing *p, const ecgmoe_real *x, int64_t sample, ecgmoe_real *top) {
    const ecgmoe_pacing_constants *c = p->constants;
    ecgmoe_real level = x[ecgmoe_waiting_place(sample - 1)];
    *top = x[ecgmoe_waiting_place(sample)] - level;
    for (int32_t w = 1; w <= c->width && sample + w < p->stop; w++) {
        ecgmoe_real off = x[ecgmoe_waiting_place(sample + w)] - level;
        ecgmoe_real size = ecgmoe_fabs(*top);
        ecgmoe_real after = *top < 0 ? -off : off;
        if (!(size < ECGMOE_INFINITY)) /* an unusable sample is no part of a spike */
            break;
        if (after <= c->back_same_side * size && after >= -c->back_opposite_side * size)
            return w;
        if (!(ecgmoe_fabs(off) <= size))
            *top = off;
    }
    return 0;
}

/* Decide on the samples of lead `k` as far as possible. */
static void decide_steps(ecgmoe_pacing *p, ecgmoe_real *x, int k, bool last) {
    const ecgmoe_pacing_constants *c = p->constants;
    int64_t at = p->at[k];
    while (at < p->stop) {
        ecgmoe_real step = at > p->start ? step_at(x, at) : ECGMOE_R(0.0), top;
        if (!(step >= c->least_step_mv) || !after_quiet(p, x, at, step)) {
            at++;
            continue;
        }
        int32_t width = back_after(p, x, at, &top);
        if (width == 0 && at + c->width >= p->stop && !last)
            break; /* it is not known yet */
        if (width == 0) {
            at++;
            continue;
        }
        if (p->n_spikes[k] < ECGMOE_MOST_SPIKES) {
            p->spikes[k][p->n_spikes[k]++] = (ecgmoe_spike){at, top, (int8_t)k, (uint8_t)width};
            p->n_all_spikes++;
        }
        ecgmoe_real level = x[ecgmoe_waiting_place(at - 1)], rise = x[ecgmoe_waiting_place(at + width)] - level;
        for (int32_t i = 1; i <= width; i++)
            x[ecgmoe_waiting_place(at - 1 + i)] = level + rise * (ecgmoe_real)i / (ecgmoe_real)(width + 1);
        at += width + 1;
    }
    p->at[k] = at;
}

void ecgmoe_pacing_process(ecgmoe_pacing *p, ecgmoe_waiting_samples *waiting, int64_t stop, bool last) {
    p->stop = stop;
    for (int k = 0; k < p->n_leads; k++) {
        if (p->constants->enabled)
            decide_steps(p, waiting->x[k], k, last);
        else
            p->at[k] = stop;
    }
}

int64_t ecgmoe_pacing_decided(const ecgmoe_pacing *p) {
    int64_t decided = ECGMOE_NEVER;
    for (int k = 0; k < p->n_leads; k++)
        decided = ecgmoe_min_i64(decided, p->at[k]);
    return decided;
}

bool ecgmoe_pacing_next_spike(ecgmoe_pacing *p, int64_t stop, ecgmoe_spike *spike) {
    int first = -1;
    for (int k = 0; k < p->n_leads; k++)
        if (p->n_spikes[k] > 0 && p->spikes[k][0].sample < stop &&
            (first < 0 || p->spikes[k][0].sample < p->spikes[first][0].sample))
            first = k;
    if (first < 0)
        return false;
    *spike = p->spikes[first][0];
    p->n_spikes[first]--;
    p->n_all_spikes--;
    memmove(&p->spikes[first][0], &p->spikes[first][1], p->n_spikes[first] * sizeof p->spikes[first][0]);
    return true;
}

/* Tails of pacing spikes: `is_tail` and `r_on_tail` in Python. A decay is computed sample by sample from the one
 * before. */
#include "ecgmoe_pacing.h"

static ecgmoe_real decay_of_a_sample(const ecgmoe_tail_constants *c, int k) {
    return ecgmoe_exp(ECGMOE_R(-1.0) / c->fs / c->times_s[k]);
}

bool ecgmoe_is_tail(const ecgmoe_tail_constants *c, const ecgmoe_real *after, int32_t n) {
    for (int k = 0; k < ECGMOE_TAIL_TIMES; k++) {
        ecgmoe_real ratio = decay_of_a_sample(c, k), decay = ECGMOE_R(1.0);
        ecgmoe_real part = ECGMOE_R(0.0), power = ECGMOE_R(0.0), error = ECGMOE_R(0.0);
        for (int32_t i = 0; i < n; i++, decay *= ratio) {
            part += after[i] * decay;
            power += decay * decay;
        }
        ecgmoe_real height = part / power, limit = c->rest * height;
        decay = ECGMOE_R(1.0);
        for (int32_t i = 0; i < n; i++, decay *= ratio) {
            ecgmoe_real rest = after[i] - height * decay;
            error += rest * rest;
        }
        if (error <= limit * limit * (ecgmoe_real)n)
            return true;
    }
    return false;
}

/* The best bell for one time constant. */
typedef struct {
    ecgmoe_real ratio, power, part; /* of the decay: ratio of two samples, sum of squares, product with the signal */
    ecgmoe_real error, tail, height;
    int32_t bell; /* -1 for none */
} fit;

/* Fit a decay and a bell together; keep the fit if it is better than those before. */
static void try_bell(fit *best, ecgmoe_real power, ecgmoe_real bell_power, ecgmoe_real bell_part, ecgmoe_real both,
                     int32_t bell) {
    ecgmoe_real determinant = best->power * bell_power - both * both;
    ecgmoe_real tail = (best->part * bell_power - bell_part * both) / determinant;
    ecgmoe_real height = (bell_part * best->power - best->part * both) / determinant;
    ecgmoe_real error = power - tail * best->part - height * bell_part;
    bool better = error < best->error || (ecgmoe_is_none(error) && !ecgmoe_is_none(best->error));
    if (best->bell < 0 || better) {
        best->error = error;
        best->tail = tail;
        best->height = height;
        best->bell = bell;
    }
}

static ecgmoe_real bell_time(const ecgmoe_tail_constants *c, int32_t bell) {
    ecgmoe_real step = (c->complex_begin_s + c->complex_step_s) - c->complex_begin_s; /* as numpy.arange */
    return c->complex_begin_s + (ecgmoe_real)bell * step;
}

/* Compare a bell with the signal, and with each decay. */
static void try_bells(const ecgmoe_tail_constants *c, const ecgmoe_real *after, int32_t n, ecgmoe_real power,
                      fit fits[ECGMOE_TAIL_TIMES]) {
    ecgmoe_real end = ecgmoe_min(c->complex_end_s, (ecgmoe_real)(n - 1) / c->fs - c->bell_s);
    int32_t bells = (int32_t)ecgmoe_ceil((end - c->complex_begin_s) / c->complex_step_s);
    for (int32_t bell = 0; bell < bells; bell++) {
        ecgmoe_real time_s = bell_time(c, bell), bell_power = ECGMOE_R(0.0), bell_part = ECGMOE_R(0.0);
        ecgmoe_real decays[ECGMOE_TAIL_TIMES], both[ECGMOE_TAIL_TIMES];
        for (int k = 0; k < ECGMOE_TAIL_TIMES; k++) {
            decays[k] = ECGMOE_R(1.0);
            both[k] = ECGMOE_R(0.0);
        }
        for (int32_t i = 0; i < n; i++) {
            ecgmoe_real off = ((ecgmoe_real)i / c->fs - time_s) / c->bell_s;
            ecgmoe_real height = ecgmoe_exp(ECGMOE_R(-0.5) * (off * off));
            bell_power += height * height;
            bell_part += height * after[i];
            for (int k = 0; k < ECGMOE_TAIL_TIMES; k++) {
                both[k] += height * decays[k];
                decays[k] *= fits[k].ratio;
            }
        }
        for (int k = 0; k < ECGMOE_TAIL_TIMES; k++)
            try_bell(&fits[k], power, bell_power, bell_part, both[k], bell);
    }
}

/* The sample near the bell that is largest without the tail. */
static int32_t largest_near(const ecgmoe_tail_constants *c, const ecgmoe_real *after, int32_t n, const fit *best) {
    ecgmoe_real time_s = bell_time(c, best->bell), decay = ECGMOE_R(1.0), largest = ECGMOE_R(0.0);
    int32_t r = 0;
    for (int32_t i = 0; i < n; i++, decay *= best->ratio) {
        if (ecgmoe_fabs((ecgmoe_real)i / c->fs - time_s) > c->bell_s)
            continue;
        ecgmoe_real height = ecgmoe_fabs(after[i] - best->tail * decay);
        if (height > largest) {
            largest = height;
            r = i;
        }
    }
    return r;
}

int32_t ecgmoe_r_on_tail(const ecgmoe_tail_constants *c, const ecgmoe_real *after, int32_t n) {
    fit fits[ECGMOE_TAIL_TIMES];
    ecgmoe_real power = ECGMOE_R(0.0);
    for (int32_t i = 0; i < n; i++)
        power += after[i] * after[i];
    for (int k = 0; k < ECGMOE_TAIL_TIMES; k++) {
        fit *each = &fits[k];
        *each = (fit){.ratio = decay_of_a_sample(c, k), .bell = -1};
        ecgmoe_real decay = ECGMOE_R(1.0);
        for (int32_t i = 0; i < n; i++, decay *= each->ratio) {
            each->power += decay * decay;
            each->part += decay * after[i];
        }
    }
    try_bells(c, after, n, power, fits);
    const fit *best = NULL;
    for (int k = 0; k < ECGMOE_TAIL_TIMES; k++) {
        bool is_large = ecgmoe_fabs(fits[k].tail) >= c->large_tail * ecgmoe_fabs(fits[k].height);
        if (fits[k].bell >= 0 && is_large && (best == NULL || fits[k].error < best->error))
            best = &fits[k];
    }
    if (best == NULL || best->error > c->fit_rest * c->fit_rest * power)
        return -1;
    return largest_near(c, after, n, best);
}

#include "ecgmoe_predictability.h"

#include "ecgmoe_median.h"

#define ORDER ECGMOE_PREDICTION_ORDER

void ecgmoe_predictability_init(ecgmoe_predictability *p, const ecgmoe_predictability_constants *constants) {
    p->constants = constants;
    p->first = p->count = 0;
}

void ecgmoe_predictability_add(ecgmoe_predictability *p, ecgmoe_real rr_ms) {
#ifdef ECGMOE_REAL_FLOAT
    ecgmoe_real units = ecgmoe_min(ecgmoe_max(ecgmoe_rint(8 * rr_ms), 1), UINT16_MAX);
    p->rr[(p->first + p->count) % ECGMOE_PREDICTED_INTERVALS] = (ecgmoe_stored_rr)units;
#else
    p->rr[(p->first + p->count) % ECGMOE_PREDICTED_INTERVALS] = rr_ms;
#endif
    if (p->count < ECGMOE_PREDICTED_INTERVALS)
        p->count++;
    else
        p->first = (uint8_t)((p->first + 1) % ECGMOE_PREDICTED_INTERVALS);
}

static ecgmoe_real median(const ecgmoe_predictability *p) {
    ecgmoe_real ordered[ECGMOE_PREDICTED_INTERVALS];
    for (int32_t i = 0; i < p->count; i++)
        ordered[i] = (ecgmoe_real)p->rr[i];
    ecgmoe_sort(ordered, p->count);
    return ordered[p->count / 2];
}

/* Write the autocorrelation of ln RR at lags 0 to ORDER, as sums of products. */
static void correlate(const ecgmoe_predictability *p, ecgmoe_real correlation[ORDER + 1]) {
    ecgmoe_real x[ECGMOE_PREDICTED_INTERVALS], middle = median(p), total = 0;
    int32_t n = p->count;
    for (int32_t i = 0; i < n; i++) {
        ecgmoe_real rr = (ecgmoe_real)p->rr[(p->first + i) % ECGMOE_PREDICTED_INTERVALS];
        ecgmoe_real log_ratio = ecgmoe_log(rr / middle);
        x[i] = ecgmoe_min(ecgmoe_max(log_ratio, -p->constants->outlier), p->constants->outlier);
        total += x[i];
    }
    ecgmoe_real mean = total / (ecgmoe_real)n;
    for (int32_t i = 0; i < n; i++)
        x[i] -= mean;
    for (int32_t lag = 0; lag <= ORDER; lag++) {
        correlation[lag] = 0;
        for (int32_t i = lag; i < n; i++)
            correlation[lag] += x[i - lag] * x[i];
    }
}

/* The fraction of the variance that is not explained, by Levinson's recursion on an autocorrelation. */
static ecgmoe_real unexplained(const ecgmoe_real correlation[ORDER + 1]) {
    ecgmoe_real error = correlation[0], taps[ORDER] = {0}, before[ORDER];
    if (error <= 0)
        return 0;
    for (int32_t order = 0; order < ORDER; order++) {
        ecgmoe_real past = 0;
        for (int32_t k = 0; k < order; k++) {
            past += taps[k] * correlation[order - k];
            before[k] = taps[k];
        }
        ecgmoe_real reflection = (correlation[order + 1] - past) / error;
        for (int32_t k = 0; k < order; k++)
            taps[k] = before[k] - reflection * before[order - 1 - k];
        taps[order] = reflection;
        error *= 1 - reflection * reflection;
    }
    return error / correlation[0];
}

bool ecgmoe_predictability_is_smooth(const ecgmoe_predictability *p) {
    ecgmoe_real correlation[ORDER + 1], least = p->constants->least_spread;
    correlate(p, correlation);
    bool varies = correlation[0] >= least * least * (ecgmoe_real)p->count;
    return varies && unexplained(correlation) < p->constants->predictable;
}

bool ecgmoe_predictability_is_steady(const ecgmoe_predictability *p) {
    ecgmoe_real middle = median(p);
    int32_t equal = 0;
    for (int32_t i = 0; i < p->count; i++)
        equal += ecgmoe_fabs((ecgmoe_real)p->rr[i] - middle) < p->constants->steady_within * middle;
    return (ecgmoe_real)equal >= p->constants->steady_share * (ecgmoe_real)p->count;
}

ecgmoe_real ecgmoe_predictability_unexplained(const ecgmoe_predictability *p) {
    ecgmoe_real correlation[ORDER + 1];
    correlate(p, correlation);
    return unexplained(correlation);
}

#include "ecgmoe_rr_history.h"

#include <string.h>

#include "ecgmoe_median.h"

#if ECGMOE_RR_SEQUENCE > 32 || ECGMOE_RR_SPREAD_OF > ECGMOE_RR_MEDIAN_OF || \
    ECGMOE_RR_MEDIAN_STEPS >= ECGMOE_RR_SPREAD_OF || ECGMOE_RR_MEAN_STEPS >= ECGMOE_RR_SPREAD_OF
#error "The RR sequence has one bit for each interval; shorter memories are the ends of longer ones."
#endif

/* The last intervals in s, oldest first; and their number. */
typedef struct {
    ecgmoe_real rr[ECGMOE_RR_SPREAD_OF];
    int32_t n;
} last_intervals;

static ecgmoe_real seconds_of(const ecgmoe_rr_history *h, int32_t samples) {
    const ecgmoe_rr_history_constants *c = h->constants;
    return ecgmoe_min(ecgmoe_max((ecgmoe_real)samples / c->fs, c->shortest_s), c->longest_s);
}

/* Copy the last `most` intervals, oldest first; return how many there are. */
static int32_t copy_last(const ecgmoe_rr_history *h, uint16_t *out, int32_t most) {
    int32_t n = h->count < most ? h->count : most;
    int32_t at = h->next - n;
    if (at < 0)
        at += ECGMOE_RR_MEMORY;
    for (int32_t i = 0; i < n; i++) {
        out[i] = h->past[at];
        at = at + 1 == ECGMOE_RR_MEMORY ? 0 : at + 1;
    }
    return n;
}

static int32_t count_up_to(const uint16_t *x, int32_t n, int32_t most) {
    int32_t count = 0;
    for (int32_t i = 0; i < n; i++)
        count += x[i] <= most;
    return count;
}

/* The number with `rank` smaller or equal ones before it, by halving the range of the numbers: nothing is sorted. From
 * one beat to the next, it is mostly the same: that is the `guess`. */
static int32_t ranked(const uint16_t *x, int32_t n, int32_t rank, int32_t guess) {
    int32_t low = x[0], high = x[0], below = 0, up_to = 0;
    for (int32_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
        below += x[i] < guess;
        up_to += x[i] <= guess;
    }
    if (below <= rank && rank < up_to)
        return guess;
    if (rank < below)
        high = guess;
    else
        low = guess > low ? guess : low;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (count_up_to(x, n, middle) > rank)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Median of at least one interval, s. `guess`: about which interval. */
static ecgmoe_real median_of_past(const ecgmoe_rr_history *h, const uint16_t *x, int32_t n, int32_t guess) {
    int32_t rank = (n - 1) / 2;
    int32_t lower = ranked(x, n, rank, guess), upper = lower;
    if (n % 2 == 0 && count_up_to(x, n, lower) == rank + 1) {
        upper = UINT16_MAX;
        for (int32_t i = 0; i < n; i++)
            upper = x[i] > lower && x[i] < upper ? x[i] : upper;
    }
    if (upper == lower)
        return seconds_of(h, lower);
    return ECGMOE_R(0.5) * (seconds_of(h, lower) + seconds_of(h, upper));
}

static void remember_interval(ecgmoe_rr_history *h, int32_t rr) {
    h->past[h->next] = (uint16_t)(rr < UINT16_MAX ? rr : UINT16_MAX);
    h->next = (uint16_t)(h->next + 1 == ECGMOE_RR_MEMORY ? 0 : h->next + 1);
    if (h->count < ECGMOE_RR_MEMORY)
        h->count++;
}

static void push_ratio(ecgmoe_rr_history *h, float ratio, bool known) {
    float limit = (float)h->constants->ratio_limit;
    memmove(h->sequence, h->sequence + 1, (ECGMOE_RR_SEQUENCE - 1) * sizeof h->sequence[0]);
    ratio = ratio > -limit ? ratio : -limit;
    ratio = ratio < limit ? ratio : limit;
#ifdef ECGMOE_REAL_FLOAT
    h->sequence[ECGMOE_RR_SEQUENCE - 1] = (ecgmoe_stored_ratio)lrintf(ratio / limit * INT16_MAX);
#else
    h->sequence[ECGMOE_RR_SEQUENCE - 1] = ratio;
#endif
    h->known = (h->known << 1) | known;
}

static float ratio_at(const ecgmoe_rr_history *h, int32_t i) {
#ifdef ECGMOE_REAL_FLOAT
    return (float)h->sequence[i] * ((float)h->constants->ratio_limit / INT16_MAX);
#else
    return h->sequence[i];
#endif
}

/* Median of the absolute differences to `centre`. */
static ecgmoe_real deviation_of(const last_intervals *last, ecgmoe_real centre) {
    ecgmoe_real differences[ECGMOE_RR_SPREAD_OF];
    for (int32_t i = 0; i < last->n; i++)
        differences[i] = ecgmoe_fabs(last->rr[i] - centre);
    return ecgmoe_median_of(differences, last->n);
}

/* Write the absolute differences between the last `most` + 1 intervals, oldest first; return how many there are. */
static int32_t steps_of(const last_intervals *last, ecgmoe_real *steps, int32_t most) {
    int32_t n = last->n - 1 < most ? last->n - 1 : most;
    for (int32_t i = 0; i < n; i++) {
        int32_t at = last->n - n + i;
        steps[i] = ecgmoe_fabs(last->rr[at] - last->rr[at - 1]);
    }
    return n;
}

static ecgmoe_real mean_step(const last_intervals *last) {
    ecgmoe_real steps[ECGMOE_RR_MEAN_STEPS], total = 0;
    int32_t n = steps_of(last, steps, ECGMOE_RR_MEAN_STEPS);
    for (int32_t i = 0; i < n; i++)
        total += steps[i];
    return n > 1 ? total / (ecgmoe_real)n : 0;
}

static ecgmoe_real median_step(const last_intervals *last) {
    ecgmoe_real steps[ECGMOE_RR_MEDIAN_STEPS];
    int32_t n = steps_of(last, steps, ECGMOE_RR_MEDIAN_STEPS);
    return n > 1 ? ecgmoe_median_of(steps, n) : 0;
}

static ecgmoe_real irregular_share(const last_intervals *last, ecgmoe_real median, ecgmoe_real deviation) {
    int32_t irregular = 0;
    for (int32_t i = 0; i < last->n; i++)
        irregular += ecgmoe_fabs(last->rr[i] / median - 1) > deviation;
    return (ecgmoe_real)irregular / (ecgmoe_real)last->n;
}

/* Compute all features before ECGMOE_RR_KNOWN; there is at least one interval in the history. */
static void compute(ecgmoe_rr_history *h, ecgmoe_real rr, float out[ECGMOE_RR_FEATURES]) {
    const ecgmoe_rr_history_constants *c = h->constants;
    uint16_t of_median[ECGMOE_RR_MEDIAN_OF];
    int32_t n64 = copy_last(h, of_median, ECGMOE_RR_MEDIAN_OF);
    last_intervals last;
    last.n = n64 < ECGMOE_RR_SPREAD_OF ? n64 : ECGMOE_RR_SPREAD_OF;
    const uint16_t *p32 = of_median + n64 - last.n;
    for (int32_t i = 0; i < last.n; i++)
        last.rr[i] = seconds_of(h, p32[i]);

    int32_t n8 = last.n < ECGMOE_RR_MEAN_OF ? last.n : ECGMOE_RR_MEAN_OF;
    const ecgmoe_real *p8 = last.rr + last.n - n8;
    ecgmoe_real total = 0, squares = 0, shortest = p8[0];
    for (int32_t i = 0; i < n8; i++) {
        total += p8[i];
        shortest = ecgmoe_min(shortest, p8[i]);
    }
    ecgmoe_real mean8 = total / (ecgmoe_real)n8;
    for (int32_t i = 0; i < n8; i++)
        squares += (p8[i] - mean8) * (p8[i] - mean8);
    ecgmoe_real spread8 = ecgmoe_sqrt(squares / (ecgmoe_real)n8);

    ecgmoe_real before = last.rr[last.n - 1], second = last.n > 1 ? last.rr[last.n - 2] : before;
    int32_t guess = h->usual;
    ecgmoe_real median8 = median_of_past(h, p32 + last.n - n8, n8, guess), median32 = median_of_past(h, p32, last.n, guess);
    ecgmoe_real median64 = median_of_past(h, of_median, n64, guess), median300 = median_of_past(h, h->past, h->count, guess);
    h->usual = (uint16_t)ecgmoe_min(ecgmoe_rint(median300 * c->fs), UINT16_MAX);
    ecgmoe_real log_rr = ecgmoe_log(rr), log_mean8 = ecgmoe_log(mean8), log_median300 = ecgmoe_log(median300);
    ecgmoe_real z = (rr - median8) / (c->z_of_median * median8 + c->z_of_deviation * deviation_of(&last, median32));

    out[ECGMOE_RR_TO_MEAN_OF_8] = (float)(log_rr - log_mean8);
    out[ECGMOE_RR_TO_MEDIAN_OF_64] = (float)(log_rr - ecgmoe_log(median64));
    out[ECGMOE_RR_TO_BEFORE] = (float)(log_rr - ecgmoe_log(before));
    out[ECGMOE_RR_BEFORE_TO_MEAN_OF_8] = (float)(ecgmoe_log(before) - log_mean8);
    out[ECGMOE_RR_SECOND_TO_MEAN_OF_8] = (float)(ecgmoe_log(second) - log_mean8);
    out[ECGMOE_RR_SPREAD_OF_8] = (float)(spread8 / mean8);
    out[ECGMOE_RR_STEP_OF_16] = (float)(mean_step(&last) / median64);
    out[ECGMOE_RR_SHORTEST_OF_8] = (float)(shortest / mean8);
    out[ECGMOE_RR_TO_MEDIAN_OF_300] = (float)(log_rr - log_median300);
    out[ECGMOE_RR_MEDIAN_OF_8_TO_300] = (float)(ecgmoe_log(median8) - log_median300);
    out[ECGMOE_RR_ROBUST_Z] = (float)ecgmoe_min(ecgmoe_max(z, -c->z_limit), c->z_limit);
    out[ECGMOE_RR_STEP_OF_32] = (float)(median_step(&last) / median32);
    out[ECGMOE_RR_IRREGULAR_SHARE] = (float)irregular_share(&last, median32, c->irregular_deviation);
}

void ecgmoe_rr_history_init(ecgmoe_rr_history *history, const ecgmoe_rr_history_constants *constants) {
    memset(history, 0, sizeof *history);
    history->constants = constants;
}

void ecgmoe_rr_history_add(ecgmoe_rr_history *history, int32_t rr, bool remembers, float features[ECGMOE_RR_FEATURES],
                           float sequence[2][ECGMOE_RR_SEQUENCE]) {
    bool is_first = history->count == 0;
    if (!remembers && is_first) /* nothing to compare it with */
        rr = 0;
    memset(features, 0, ECGMOE_RR_FEATURES * sizeof features[0]);
    features[ECGMOE_RR_LENGTH] =
        (float)(ecgmoe_log1p((ecgmoe_real)history->count) / ecgmoe_log1p((ecgmoe_real)ECGMOE_RR_MEMORY));
    if (rr > 0) {
        if (is_first) /* it is compared with itself */
            remember_interval(history, rr);
        compute(history, seconds_of(history, rr), features);
        features[ECGMOE_RR_KNOWN] = 1;
        if (remembers && !is_first)
            remember_interval(history, rr);
    }
    push_ratio(history, features[ECGMOE_RR_TO_MEDIAN_OF_300], rr > 0);
    for (int32_t i = 0; i < ECGMOE_RR_SEQUENCE; i++) {
        sequence[0][i] = ratio_at(history, i);
        sequence[1][i] = (float)((history->known >> (ECGMOE_RR_SEQUENCE - 1 - i)) & 1);
    }
}

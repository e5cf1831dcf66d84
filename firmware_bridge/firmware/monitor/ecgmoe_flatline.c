#include "ecgmoe_flatline.h"

#include <string.h>

void ecgmoe_flatline_init(ecgmoe_flatline_detector *d, const ecgmoe_flatline_constants *constants) {
    memset(d, 0, sizeof *d);
    d->constants = constants;
    d->lowest = d->low = ECGMOE_INFINITY;
    d->highest = d->high = -ECGMOE_INFINITY;
    ecgmoe_flatline_restart(d, 0);
}

void ecgmoe_flatline_restart(ecgmoe_flatline_detector *d, int64_t at) {
    d->lowest = ecgmoe_min(d->lowest, d->low);
    d->highest = ecgmoe_max(d->highest, d->high);
    d->start = at;
    d->value = d->before = ECGMOE_R(0.0);
    d->run = 0;
    d->low = ECGMOE_INFINITY;
    d->high = -ECGMOE_INFINITY;
    d->unreported = -1;
    d->n_unreported = 0;
    ecgmoe_marks_clear(&d->clipped, d->clipped_bits, ECGMOE_CLIPPED_BYTES);
}

/* Whether no sample since the last break lies beyond the value of a run that begins at sample `first`. */
static bool is_limit(const ecgmoe_flatline_detector *d, int64_t first, ecgmoe_real value) {
    bool seen = first - d->start >= d->constants->seen_enough && ecgmoe_min(d->low, value) < ecgmoe_max(d->high, value);
    return seen && (value >= d->high || value <= d->low);
}

/* Kind of a flatline that begins at sample `first`. */
static ecgmoe_flatline_kind kind_of(const ecgmoe_flatline_detector *d, int64_t first, ecgmoe_real value) {
    if (ecgmoe_fabs(value) >= d->constants->no_ecg_mv || is_limit(d, first, value))
        return ECGMOE_FLATLINE_RAIL;
    bool inside = d->lowest < value && value < d->highest;
    bool at_earlier_limit = d->lowest < d->highest && !inside;
    bool is_new = first - d->start < d->constants->seen_enough;
    return at_earlier_limit && is_new ? ECGMOE_FLATLINE_RAIL : ECGMOE_FLATLINE_FLAT;
}

static ecgmoe_flatline_report flatline(const ecgmoe_flatline_detector *d, int64_t known_at, int64_t first,
                                       int64_t samples) {
    return (ecgmoe_flatline_report){.known_at = known_at,
                                    .sample = first,
                                    .samples = samples,
                                    .signal_end = -1,
                                    .signal_begin = -1,
                                    .report = ECGMOE_REPORT_FLATLINE,
                                    .kind = kind_of(d, first, d->value)};
}

/* Report the clipped samples so far. */
static ecgmoe_flatline_report counted(ecgmoe_flatline_detector *d, int64_t known_at) {
    ecgmoe_flatline_report report = {.known_at = known_at,
                                     .sample = d->unreported,
                                     .samples = d->n_unreported,
                                     .signal_end = -1,
                                     .signal_begin = -1,
                                     .report = ECGMOE_REPORT_CLIPPING};
    d->unreported = -1;
    d->n_unreported = 0;
    return report;
}

/* Report them if the first of them is long enough ago when `arrived` samples have arrived. Returns how many reports. */
static int report_clipping(ecgmoe_flatline_detector *d, int64_t arrived, ecgmoe_flatline_report *out) {
    int64_t known_at = d->unreported + d->constants->report_after;
    if (d->unreported < 0 || known_at > arrived)
        return 0;
    *out = counted(d, known_at);
    return 1;
}

/* Examine the run that ends before sample `stop`, which is `x`. Returns how many reports. */
static int run_ended(ecgmoe_flatline_detector *d, int64_t stop, ecgmoe_real x, ecgmoe_flatline_report *out) {
    const ecgmoe_flatline_constants *c = d->constants;
    int64_t first = stop - d->run;
    int n = 0;
    if (d->run >= c->flat) {
        n += report_clipping(d, stop + 1, out);
        out[n] = flatline(d, stop + 1, first, d->run);
        out[n++].signal_begin = stop;
        return n;
    }
    ecgmoe_real step = ecgmoe_min(ecgmoe_fabs(d->before - d->value), ecgmoe_fabs(x - d->value));
    if (step >= c->steep_mv && is_limit(d, first, d->value)) {
        n += report_clipping(d, stop + 1, out);
        if (d->unreported < 0)
            d->unreported = first;
        d->n_unreported += (int32_t)d->run;
        ecgmoe_marks_set(&d->clipped, d->clipped_bits, ECGMOE_CLIPPED_BYTES, first, stop);
    }
    return n;
}

int ecgmoe_flatline_push_any(ecgmoe_flatline_detector *d, ecgmoe_real x, int64_t at,
                             ecgmoe_flatline_report out[ECGMOE_MOST_FLATLINE_REPORTS]) {
    int n = 0;
    if (d->run == 0)
        d->before = d->value = x;
    if (x == d->value) {
        d->run++;
    } else {
        if (d->run >= d->constants->shortest)
            n = run_ended(d, at, x, out);
        d->before = d->value;
        d->value = x;
        d->run = 1;
    }
    d->low = ecgmoe_min(d->low, x);
    d->high = ecgmoe_max(d->high, x);
    if (d->run == d->constants->flat) {
        int64_t known_at = at + 1;
        n += report_clipping(d, known_at, &out[n]);
        out[n] = flatline(d, known_at, known_at - d->run, d->run);
        out[n++].signal_end = known_at;
    }
    if (d->unreported >= 0 && n < ECGMOE_MOST_FLATLINE_REPORTS)
        n += report_clipping(d, at + 1, &out[n]);
    return n;
}

bool ecgmoe_flatline_push_all(ecgmoe_flatline_detector *d, const ecgmoe_real *x, int32_t n) {
    const int64_t shortest = d->constants->shortest;
    ecgmoe_real before = d->before, value = d->value, low = d->low, high = d->high;
    int64_t run = d->run;
    if (run == 0 || d->unreported >= 0)
        return false;
    for (int32_t i = 0; i < n; i++) {
        if (run >= shortest)
            return false;
        run = x[i] == value ? run + 1 : 1;
        before = run > 1 ? before : value;
        value = x[i];
        low = ecgmoe_min(low, value);
        high = ecgmoe_max(high, value);
    }
    d->before = before;
    d->value = value;
    d->low = low;
    d->high = high;
    d->run = run;
    return true;
}

bool ecgmoe_flatline_clipped(const ecgmoe_flatline_detector *d, int64_t first, int64_t stop) {
    return ecgmoe_marks_count(&d->clipped, d->clipped_bits, ECGMOE_CLIPPED_BYTES, first, stop) > 0;
}

int ecgmoe_flatline_break_off(ecgmoe_flatline_detector *d, int64_t at,
                              ecgmoe_flatline_report out[ECGMOE_MOST_FLATLINE_REPORTS]) {
    int n = 0;
    if (d->unreported >= 0)
        out[n++] = counted(d, at);
    if (d->run >= d->constants->flat)
        out[n++] = flatline(d, at, at - d->run, d->run);
    return n;
}

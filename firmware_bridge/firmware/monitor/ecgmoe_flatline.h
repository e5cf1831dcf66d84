/*
 * Flatline and clipping: an input that does not move, an amplifier at its rail, QRS complexes that are cut off there.
 * Python: signal/flatline.py, which says what is detected.
 */
#ifndef ECGMOE_FLATLINE_H
#define ECGMOE_FLATLINE_H

#include "ecgmoe_events.h"
#include "ecgmoe_history.h"
#include "ecgmoe_marks.h"

/* From a `FlatlineDetector(fs)`; names in capitals are those of the module flatline. Times in samples. */
typedef struct {
    int32_t flat;         /* FlatlineDetector.flat */
    int32_t report_after; /* FlatlineDetector.report_after */
    int32_t shortest;     /* FlatlineDetector.shortest */
    int32_t seen_enough;  /* FlatlineDetector.seen_enough */
    ecgmoe_real steep_mv;  /* STEEP_MV */
    ecgmoe_real no_ecg_mv; /* NO_ECG_MV */
} ecgmoe_flatline_constants;

typedef enum { ECGMOE_REPORT_CLIPPING, ECGMOE_REPORT_FLATLINE } ecgmoe_flatline_report_kind;

/* An event, and whether the signal of a heart ends or begins with it. */
typedef struct {
    int64_t known_at;
    int64_t sample;
    int64_t samples;      /* number of constant or clipped samples */
    int64_t signal_end;   /* with the event, the signal ends before this sample; -1: it does not */
    int64_t signal_begin; /* with the event, a new signal begins at this sample; -1: it does not */
    ecgmoe_flatline_report_kind report;
    ecgmoe_flatline_kind kind; /* of a flatline */
} ecgmoe_flatline_report;

/* A sample ends at most one run, and the clipped runs before it are reported first. */
#define ECGMOE_MOST_FLATLINE_REPORTS 2

/* Clipped samples are remembered for as long as a beat may still be built. */
#define ECGMOE_CLIPPED_BYTES ECGMOE_MARK_BYTES(ECGMOE_HISTORY_SAMPLES)

typedef struct {
    const ecgmoe_flatline_constants *constants;
    int64_t start; /* first sample since the last break */
    int64_t run;   /* number of the last samples that are equal */
    ecgmoe_real value, before;    /* their value; the sample before them */
    ecgmoe_real low, high;        /* limits of the samples since the last break */
    ecgmoe_real lowest, highest;  /* limits of the signal before the last break */
    int64_t unreported;           /* first clipped sample that is not reported yet; -1 for none */
    int32_t n_unreported;         /* number of these samples */
    ecgmoe_marks clipped;
    uint8_t clipped_bits[ECGMOE_CLIPPED_BYTES];
} ecgmoe_flatline_detector;

void ecgmoe_flatline_init(ecgmoe_flatline_detector *d, const ecgmoe_flatline_constants *constants);

/* Start a new signal with sample `at`; only the limits of the signal so far are remembered. */
void ecgmoe_flatline_restart(ecgmoe_flatline_detector *d, int64_t at);

/* The same as `ecgmoe_flatline_push` for any sample. */
int ecgmoe_flatline_push_any(ecgmoe_flatline_detector *d, ecgmoe_real x, int64_t at,
                             ecgmoe_flatline_report out[ECGMOE_MOST_FLATLINE_REPORTS]);

/* Take the usable sample `at`, mV. Returns the number of reports, in order. */
static inline int ecgmoe_flatline_push(ecgmoe_flatline_detector *d, ecgmoe_real x, int64_t at,
                                       ecgmoe_flatline_report out[ECGMOE_MOST_FLATLINE_REPORTS]) {
    /* Nearly all samples differ from the one before, after a short run. */
    if (x == d->value || d->run == 0 || d->run >= d->constants->shortest || d->unreported >= 0)
        return ecgmoe_flatline_push_any(d, x, at, out);
    d->before = d->value;
    d->value = x;
    d->run = 1;
    d->low = ecgmoe_min(d->low, x);
    d->high = ecgmoe_max(d->high, x);
    return 0;
}

/* Take `n` usable samples together, if none of them gives a report or may be clipped, and no flatline is as long. Returns
 * whether it did. */
bool ecgmoe_flatline_push_all(ecgmoe_flatline_detector *d, const ecgmoe_real *x, int32_t n);

/* Whether any sample from `first` to `stop` (exclusive) is known to be clipped. */
bool ecgmoe_flatline_clipped(const ecgmoe_flatline_detector *d, int64_t first, int64_t stop);

/* Write what is not reported yet of a signal that ends before sample `at`; the members after `samples` but `kind` have
 * no meaning. Returns the number of reports. */
int ecgmoe_flatline_break_off(ecgmoe_flatline_detector *d, int64_t at,
                              ecgmoe_flatline_report out[ECGMOE_MOST_FLATLINE_REPORTS]);

#endif

/*
 * Samples that arrived and are unusable on all leads: reported as a gap when they end, or after a minute.
 * Python: ecgmoe_edge/streaming/unusable.py.
 */
#ifndef ECGMOE_UNUSABLE_H
#define ECGMOE_UNUSABLE_H

#include "ecgmoe_events.h"

typedef struct {
    int64_t limit; /* round(unusable.REPORT_S * fs) */
} ecgmoe_unusable_constants;

typedef struct {
    const ecgmoe_unusable_constants *constants;
    int64_t samples; /* number of samples that are not reported yet */
    ecgmoe_gap_reason reason;
} ecgmoe_unusable_run;

void ecgmoe_unusable_init(ecgmoe_unusable_run *run, const ecgmoe_unusable_constants *constants);
/*
 * Add sample `at` to the run. Returns whether a gap is due, because the reason changes or because it is a minute long;
 * it is then written to `out`, and known at `at + 1`. Both at once do not occur, since one sample is not a minute.
 */
bool ecgmoe_unusable_count(ecgmoe_unusable_run *run, ecgmoe_gap_reason reason, int64_t at, ecgmoe_event *out);
/* End the run before sample `stop`. Returns whether there was one; its gap is then written to `out`. */
bool ecgmoe_unusable_report(ecgmoe_unusable_run *run, int64_t stop, ecgmoe_event *out);

#endif

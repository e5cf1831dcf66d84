#include "ecgmoe_unusable.h"

void ecgmoe_unusable_init(ecgmoe_unusable_run *run, const ecgmoe_unusable_constants *constants) {
    run->constants = constants;
    run->samples = 0;
    run->reason = ECGMOE_GAP_NAN;
}

bool ecgmoe_unusable_report(ecgmoe_unusable_run *run, int64_t stop, ecgmoe_event *out) {
    if (run->samples == 0)
        return false;
    out->kind = ECGMOE_EVENT_GAP;
    out->sample = stop - run->samples;
    out->of.gap.lost = run->samples;
    out->of.gap.reason = run->reason;
    out->of.gap.at_least = false;
    out->of.gap.bridged = false;
    out->of.gap.lead = ECGMOE_ABSENT;
    run->samples = 0;
    return true;
}

bool ecgmoe_unusable_count(ecgmoe_unusable_run *run, ecgmoe_gap_reason reason, int64_t at, ecgmoe_event *out) {
    bool due = false;
    if (reason != run->reason) {
        due = ecgmoe_unusable_report(run, at, out);
        run->reason = reason;
    }
    run->samples++;
    if (run->samples == run->constants->limit)
        due = ecgmoe_unusable_report(run, at + 1, out);
    return due;
}

/*
 * The first stage: bridges short holes, removes pacing spikes and separates unusable samples. Python: signal/intake.py.
 *
 * Samples are taken one at a time. A sample that may belong to a hole or to a pacing spike waits until this is decided,
 * so a sample may give none, one or several that are passed on, each in its order:
 *
 *     ecgmoe_intake_push(&intake, x, off);
 *     while (ecgmoe_intake_new_hole(&intake, &hole)) ...
 *     while (ecgmoe_intake_next(&intake, &piece)) ...
 */
#ifndef ECGMOE_INTAKE_H
#define ECGMOE_INTAKE_H

#include "ecgmoe_bridge.h"
#include "ecgmoe_pacing.h"

#define ECGMOE_ARRIVED (-1) /* no loss */

typedef struct {
    ecgmoe_bridge_constants bridge;
    ecgmoe_pacing_constants pacing;
} ecgmoe_intake_constants;

/* One sample of all leads. Bit k of a mask: lead k. */
typedef struct {
    int64_t sample;
    ecgmoe_real x[ECGMOE_MAX_LEADS]; /* mV */
    uint8_t usable;
    uint8_t out_of_range; /* leads that are unusable since their samples are out of range */
    int8_t lost_by;       /* if no lead is usable, ecgmoe_gap_reason why it never arrived; ECGMOE_ARRIVED if it did */
} ecgmoe_piece;

typedef struct {
    const ecgmoe_intake_constants *constants;
    ecgmoe_bridge bridge;
    ecgmoe_pacing pacing;
    ecgmoe_waiting_samples waiting;
    int64_t at;     /* number of the first sample that is not passed on yet */
    int64_t before; /* the same before the last push */
    uint8_t off;    /* leads that are off */
    bool last;      /* no more samples come */
    int8_t n_leads;
} ecgmoe_intake;

void ecgmoe_intake_init(ecgmoe_intake *in, const ecgmoe_intake_constants *constants, int n_leads);

/* Start a new signal on all leads at sample `at`. */
void ecgmoe_intake_restart(ecgmoe_intake *in, int64_t at);

/* Take the next sample of all leads, mV. Leads that are `off` are unusable, and their holes are not bridged. `off` may
 * change only when nothing waits, that is after `ecgmoe_intake_finish` and `next`. */
void ecgmoe_intake_push(ecgmoe_intake *in, const ecgmoe_real *x, uint8_t off);

/* Take a sample that never arrived. begins: it is the first of a loss. */
void ecgmoe_intake_push_lost(ecgmoe_intake *in, ecgmoe_gap_reason reason, bool begins, uint8_t off);

/* No more samples come: all that waits is passed on. A push may follow; it goes on with the same signal. */
void ecgmoe_intake_finish(ecgmoe_intake *in);

/* Take the next sample that is decided, each once. */
bool ecgmoe_intake_next(ecgmoe_intake *in, ecgmoe_piece *piece);

/* Whether a hole of `lost` samples is short enough to be bridged. */
bool ecgmoe_intake_may_bridge(const ecgmoe_intake *in, int64_t lost, ecgmoe_gap_reason reason);

/* Number of samples that have arrived and are not passed on yet. */
static inline int32_t ecgmoe_intake_waiting(const ecgmoe_intake *in) {
    return (int32_t)(in->bridge.arrived - in->at);
}

/* Take the next hole that was bridged, each once, as soon as it is bridged: before its samples are passed on. */
static inline bool ecgmoe_intake_new_hole(ecgmoe_intake *in, ecgmoe_hole *hole) {
    return in->bridge.n_new > 0 && ecgmoe_bridge_new_hole(&in->bridge, hole);
}

/* Take the next hole again, once the sample after it is passed on. Python: `Intake.holes`. */
static inline bool ecgmoe_intake_passed_hole(ecgmoe_intake *in, ecgmoe_hole *hole) {
    return in->bridge.n_holes > 0 && ecgmoe_bridge_passed_hole(&in->bridge, in->at, hole);
}

/* Take the next spike that has begun among the samples that were passed on. Python: `Intake.spikes`. */
static inline bool ecgmoe_intake_next_spike(ecgmoe_intake *in, ecgmoe_spike *spike) {
    return in->pacing.n_all_spikes > 0 && ecgmoe_pacing_next_spike(&in->pacing, in->at, spike);
}

/* Number of samples that had arrived when all samples before `stop` were decided. Whatever is passed on by a push and
 * did not arrive with it has waited for it, so nothing about earlier samples has to be remembered (Python:
 * DecisionTimes). */
static inline int64_t ecgmoe_intake_known_at(const ecgmoe_intake *in, int64_t stop) {
    return stop > in->before ? ecgmoe_max_i64(stop, in->bridge.arrived) : stop;
}

#endif

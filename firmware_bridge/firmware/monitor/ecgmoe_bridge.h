/*
 * Bridges over short holes: a few lost or unusable samples are replaced by a straight line. Python: signal/bridge.py.
 *
 * A hole is bridged once the first usable sample after it has arrived. Until then, the samples since its start wait. A
 * hole that turns out to be longer is not bridged, and neither is one without a usable sample before it.
 */
#ifndef ECGMOE_BRIDGE_H
#define ECGMOE_BRIDGE_H

#include "ecgmoe_events.h"

#define ECGMOE_LONGEST_HOLE ECGMOE_MS(ECGMOE_HOLE_MS)
#define ECGMOE_WIDEST_SPIKE (ECGMOE_MS(ECGMOE_SPIKE_MS) > 2 ? ECGMOE_MS(ECGMOE_SPIKE_MS) : 2)
#define ECGMOE_LONGEST_QUIET ECGMOE_MS(ECGMOE_SPIKE_QUIET_MS)

/* Most samples that wait: for the end of a hole, and then for that of a possible spike. */
#define ECGMOE_MOST_WAITING_SAMPLES (ECGMOE_LONGEST_HOLE + 1 + ECGMOE_WIDEST_SPIKE + 1)

/* Samples in memory: those that wait, and the quiet before a spike. A power of two, so that a position is a mask. */
#define ECGMOE_INTAKE_NEEDED (ECGMOE_MOST_WAITING_SAMPLES + ECGMOE_LONGEST_QUIET + 2)
#define ECGMOE_INTAKE_SAMPLES (ECGMOE_INTAKE_NEEDED <= 32 ? 32 : ECGMOE_INTAKE_NEEDED <= 64 ? 64 : 128)

/* The newest samples of all leads, from arrival until they are passed on. */
typedef struct {
    ecgmoe_real x[ECGMOE_MAX_LEADS][ECGMOE_INTAKE_SAMPLES]; /* mV; infinite if beyond `largest_mv` */
    uint8_t lost[ECGMOE_INTAKE_SAMPLES]; /* ECGMOE_LOST | reason if it never arrived; ECGMOE_LOSS_BEGINS at the first */
} ecgmoe_waiting_samples;

enum { ECGMOE_LOST = 0x40, ECGMOE_LOSS_BEGINS = 0x80, ECGMOE_LOSS_REASON = 0x3f };

static inline uint32_t ecgmoe_waiting_place(int64_t sample) {
    return (uint32_t)((uint64_t)sample & (ECGMOE_INTAKE_SAMPLES - 1));
}

/* Samples `start` to `stop` (exclusive) that were bridged, for one reason, on some leads (bit k: lead k). */
typedef struct {
    int64_t start, stop;
    ecgmoe_gap_reason reason;
    uint8_t leads;
} ecgmoe_hole;

/* The same in few bytes, for the list of holes. */
typedef struct {
    uint32_t start; /* the lowest 32 bits */
    uint8_t width;
    uint8_t reason;
    uint8_t leads;
} ecgmoe_short_hole;

/* Bridged holes that wait do not overlap on one lead. */
#define ECGMOE_MOST_HOLES (ECGMOE_MAX_LEADS * ECGMOE_MOST_WAITING_SAMPLES)

typedef struct {
    int32_t longest;        /* HoleBridge.longest: longest hole that is bridged, samples */
    ecgmoe_real largest_mv; /* unusable.LARGEST_MV: a larger sample is unusable */
} ecgmoe_bridge_constants;

typedef struct {
    const ecgmoe_bridge_constants *constants;
    int64_t stop;    /* end (exclusive) of the samples that are passed on */
    int64_t arrived; /* number of the next sample */
    ecgmoe_real before[ECGMOE_MAX_LEADS]; /* last sample of a lead before an open hole; from NaN nothing is bridged */
    int16_t open[ECGMOE_MAX_LEADS];       /* number of samples of the hole that is open; 0 for none */
    bool out_of_range[ECGMOE_MAX_LEADS];  /* whether any of them is out of range */
    int8_t n_leads;
    ecgmoe_short_hole holes[ECGMOE_MOST_HOLES]; /* in the order in which they were bridged */
    uint8_t n_holes;
    uint8_t n_new; /* how many of them `ecgmoe_bridge_new_hole` has not returned yet: the last ones */
} ecgmoe_bridge;

void ecgmoe_bridge_init(ecgmoe_bridge *b, const ecgmoe_bridge_constants *constants, int n_leads);

/* Start a new signal on all leads at sample `at`. */
void ecgmoe_bridge_restart(ecgmoe_bridge *b, int64_t at);

/* Take the next sample of all leads. lost: as in `ecgmoe_waiting_samples`, 0 if it arrived; off: bit k for lead k. */
void ecgmoe_bridge_push(ecgmoe_bridge *b, ecgmoe_waiting_samples *waiting, const ecgmoe_real *x, uint8_t off,
                        uint8_t lost);

/* No more samples come, so an open hole is passed on as it is. */
void ecgmoe_bridge_finish(ecgmoe_bridge *b);

/* Take the next hole that was bridged, each once, as soon as it is bridged. */
bool ecgmoe_bridge_new_hole(ecgmoe_bridge *b, ecgmoe_hole *hole);

/* Take the next hole again, once sample `hole->stop` is among the samples before `stop` that were passed on. */
bool ecgmoe_bridge_passed_hole(ecgmoe_bridge *b, int64_t stop, ecgmoe_hole *hole);

#endif

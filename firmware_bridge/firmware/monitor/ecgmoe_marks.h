/*
 * Marks at samples of the recent past: bridged, clipped, or within a pacing spike. One bit for a sample, so that the
 * memory does not depend on how many there are. Python keeps lists of the runs.
 */
#ifndef ECGMOE_MARKS_H
#define ECGMOE_MARKS_H

#include "ecgmoe_config.h"

/* The caller owns the bits and gives the same `bytes` with each call. */
typedef struct {
    int64_t stop; /* end (exclusive) of the last run that was marked; no later sample is marked */
} ecgmoe_marks;

/* Bytes for marks at `samples` samples. */
#define ECGMOE_MARK_BYTES(samples) (((samples) + 7) / 8)

/* Forget all marks. */
void ecgmoe_marks_clear(ecgmoe_marks *m, uint8_t *bits, int32_t bytes);

/* Mark samples `start` to `stop` (exclusive). No run begins before an earlier one. */
void ecgmoe_marks_set(ecgmoe_marks *m, uint8_t *bits, int32_t bytes, int64_t start, int64_t stop);

/* Place of a sample among the bits. */
static inline uint32_t ecgmoe_marks_place(int32_t bytes, int64_t sample) {
    return (uint32_t)((uint64_t)sample % (8u * (uint32_t)bytes));
}

/* Whether a sample is marked; samples longer ago than 8 `bytes` before the last mark are not. */
static inline bool ecgmoe_marks_at(const ecgmoe_marks *m, const uint8_t *bits, int32_t bytes, int64_t sample) {
    if (sample < 0 || sample >= m->stop || sample < m->stop - 8 * (int64_t)bytes)
        return false;
    uint32_t place = ecgmoe_marks_place(bytes, sample);
    return ((uint32_t)bits[place >> 3] >> (place & 7u) & 1u) != 0;
}

/* Number of marked samples from `start` to `stop` (exclusive). */
int32_t ecgmoe_marks_count(const ecgmoe_marks *m, const uint8_t *bits, int32_t bytes, int64_t start, int64_t stop);

#endif

/*
 * The recent past of a signal, addressed by absolute sample number. Python: signal/history.py.
 *
 * Two lengths: `ecgmoe_history` keeps the filtered signal for as long as a beat may still be detected, `ecgmoe_raw` the
 * unfiltered signal for as long as candidates are examined in it. Python keeps at least as much.
 */
#ifndef ECGMOE_HISTORY_H
#define ECGMOE_HISTORY_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

/* Three samples more: the window begins one sample before its first point, rounded down, and the newest sample counts. */
#define ECGMOE_HISTORY_SAMPLES (ECGMOE_MS(ECGMOE_SEARCH_BACK_MS + ECGMOE_BEFORE_MS) + 3)
#define ECGMOE_RAW_SAMPLES (ECGMOE_MS(ECGMOE_RAW_MS) + 1)

typedef struct {
    int64_t first; /* number of the first sample since the last restart */
    int64_t stop;  /* number of the next sample */
    int32_t next;  /* position of the next sample in `data` */
    ecgmoe_real data[ECGMOE_HISTORY_SAMPLES];
} ecgmoe_history;

typedef struct {
    int64_t first, stop;
    int32_t next;
    ecgmoe_real data[ECGMOE_RAW_SAMPLES];
} ecgmoe_raw;

/* Position of a kept sample in a ring of `length` samples. */
static inline int32_t ecgmoe_ring_position(int64_t sample, int64_t stop, int32_t next, int32_t length) {
    int32_t position = next - (int32_t)(stop - sample);
    return position < 0 ? position + length : position;
}

/* Forget everything; the next sample has the number `at`. */
static inline void ecgmoe_history_restart(ecgmoe_history *h, int64_t at) {
    h->first = h->stop = at;
    h->next = 0;
}

static inline void ecgmoe_history_append(ecgmoe_history *h, ecgmoe_real x) {
    h->data[h->next] = x;
    h->next = h->next + 1 < ECGMOE_HISTORY_SAMPLES ? h->next + 1 : 0;
    h->stop++;
}

/* Number of the oldest sample that is kept. */
static inline int64_t ecgmoe_history_start(const ecgmoe_history *h) {
    return ecgmoe_max_i64(h->first, h->stop - ECGMOE_HISTORY_SAMPLES);
}

/* Number of the next sample. */
static inline int64_t ecgmoe_history_stop(const ecgmoe_history *h) {
    return h->stop;
}

/* A sample that is kept. */
static inline ecgmoe_real ecgmoe_history_kept(const ecgmoe_history *h, int64_t sample) {
    return h->data[ecgmoe_ring_position(sample, h->stop, h->next, ECGMOE_HISTORY_SAMPLES)];
}

/* A sample, or the kept one nearest to it; at least one sample is kept. */
static inline ecgmoe_real ecgmoe_history_at(const ecgmoe_history *h, int64_t sample) {
    int64_t start = ecgmoe_history_start(h);
    return ecgmoe_history_kept(h, ecgmoe_min_i64(ecgmoe_max_i64(sample, start), h->stop - 1));
}

/* A sample, or zero if it is not kept. */
static inline ecgmoe_real ecgmoe_history_or_zero(const ecgmoe_history *h, int64_t sample) {
    bool kept = ecgmoe_history_start(h) <= sample && sample < h->stop;
    return kept ? ecgmoe_history_kept(h, sample) : ECGMOE_R(0.0);
}

static inline void ecgmoe_raw_restart(ecgmoe_raw *h, int64_t at) {
    h->first = h->stop = at;
    h->next = 0;
}

static inline void ecgmoe_raw_append(ecgmoe_raw *h, ecgmoe_real x) {
    h->data[h->next] = x;
    h->next = h->next + 1 < ECGMOE_RAW_SAMPLES ? h->next + 1 : 0;
    h->stop++;
}

static inline int64_t ecgmoe_raw_start(const ecgmoe_raw *h) {
    return ecgmoe_max_i64(h->first, h->stop - ECGMOE_RAW_SAMPLES);
}

static inline ecgmoe_real ecgmoe_raw_kept(const ecgmoe_raw *h, int64_t sample) {
    return h->data[ecgmoe_ring_position(sample, h->stop, h->next, ECGMOE_RAW_SAMPLES)];
}

#endif

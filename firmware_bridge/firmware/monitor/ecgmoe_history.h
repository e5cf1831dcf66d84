/*
 * The recent past of a signal, addressed by absolute sample number. Python: signal/history.py.
 *
 * Two lengths: `ecgmoe_history` keeps the filtered signal for as long as a beat may still be detected, `ecgmoe_raw` the
 * unfiltered signal for as long as candidates are examined in it. Python keeps at least as much.
 *
 * The 32-bit build keeps the older part of the filtered signal in 16 bits (to 0.1 % of a sample). Only windows of beats
 * that were found by search-back, or while the detector learned, are read from it.
 */
#ifndef ECGMOE_HISTORY_H
#define ECGMOE_HISTORY_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

/* Three more: the window begins one sample before its first point, rounded down, and the newest sample counts. */
#define ECGMOE_HISTORY_SAMPLES (ECGMOE_MS(ECGMOE_SEARCH_BACK_MS + ECGMOE_BEFORE_MS) + 3)

/* The hum of the first second of a signal is measured before R peaks are searched in it. A part of this block is
 * rounded, so it may have two samples more. */
#define ECGMOE_RAW_SAMPLES (ECGMOE_MS(ECGMOE_HUM_BLOCK_MS) + 4)

#ifdef ECGMOE_REAL_FLOAT
/* More than the block of the hum, and than the time until a beat is built. */
#define ECGMOE_EXACT_SAMPLES ECGMOE_MS(1200)
#define ECGMOE_PACKED_SAMPLES (ECGMOE_HISTORY_SAMPLES - ECGMOE_EXACT_SAMPLES)
#else
#define ECGMOE_EXACT_SAMPLES ECGMOE_HISTORY_SAMPLES
#endif

typedef struct {
    int64_t first; /* number of the first sample since the last restart */
    int64_t stop;  /* number of the next sample */
    int32_t next;  /* position of the next sample in `data`, which is free */
    ecgmoe_real data[ECGMOE_EXACT_SAMPLES + 1];
#ifdef ECGMOE_REAL_FLOAT
    int32_t next_packed; /* position in `packed` of the sample that leaves `data` next */
    uint16_t packed[ECGMOE_PACKED_SAMPLES];
#endif
} ecgmoe_history;

typedef struct {
    int64_t first, stop;
    int32_t next;
    ecgmoe_real data[ECGMOE_RAW_SAMPLES];
} ecgmoe_raw;

/* Position of the sample that came `age` (at least 1) samples before `next`, in a ring of `length` samples. */
static inline int32_t ecgmoe_ring_position(int32_t next, int32_t age, int32_t length) {
    return next >= age ? next - age : next - age + length;
}

#ifdef ECGMOE_REAL_FLOAT
/* 1 bit for the sign, 6 for the exponent, 9 for the fraction: 2e-10 to 2e9 mV. Half a unit is added to round. */
enum { ECGMOE_PACKED_SHIFT = 14, ECGMOE_PACKED_EXPONENT = (127 - 32) << 23 };

static inline uint16_t ecgmoe_packed(float x) {
    union {
        float number;
        uint32_t bits;
    } u = {.number = x};
    uint32_t sign = u.bits >> 31 << 15;
    uint32_t size = (u.bits & 0x7fffffffu) + (1u << (ECGMOE_PACKED_SHIFT - 1));
    const uint32_t least = ECGMOE_PACKED_EXPONENT;
    size = size > least ? (size - least) >> ECGMOE_PACKED_SHIFT : 0;
    return (uint16_t)(sign | (size < 0x7fffu ? size : 0x7fffu));
}

static inline float ecgmoe_unpacked(uint16_t packed) {
    union {
        uint32_t bits;
        float number;
    } u;
    uint32_t size = packed & 0x7fffu;
    u.bits = size > 0 ? (size << ECGMOE_PACKED_SHIFT) + (uint32_t)ECGMOE_PACKED_EXPONENT : 0;
    return (packed & 0x8000u) != 0 ? -u.number : u.number;
}
#endif

/* Forget everything; the next sample has the number `at`. */
static inline void ecgmoe_history_restart(ecgmoe_history *h, int64_t at) {
    h->first = h->stop = at;
    h->next = 0;
#ifdef ECGMOE_REAL_FLOAT
    h->next_packed = 0;
#endif
}

/* Place of a sample that is appended later: `ahead` samples after the next one. The oldest samples lose their place, so
 * only the next sample, or the first ones of a signal, may be written ahead. */
static inline ecgmoe_real *ecgmoe_history_place(ecgmoe_history *h, int32_t ahead) {
    int32_t place = h->next + ahead;
    return &h->data[place <= ECGMOE_EXACT_SAMPLES ? place : place - ECGMOE_EXACT_SAMPLES - 1];
}

static inline void ecgmoe_history_append(ecgmoe_history *h, ecgmoe_real x) {
    h->data[h->next] = x;
    h->next = h->next < ECGMOE_EXACT_SAMPLES ? h->next + 1 : 0;
    h->stop++;
#ifdef ECGMOE_REAL_FLOAT
    if (h->stop - h->first > ECGMOE_EXACT_SAMPLES) {
        h->packed[h->next_packed] = ecgmoe_packed(h->data[h->next]);
        h->next_packed = h->next_packed + 1 < ECGMOE_PACKED_SAMPLES ? h->next_packed + 1 : 0;
    }
#endif
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
    int32_t age = (int32_t)(h->stop - sample);
#ifdef ECGMOE_REAL_FLOAT
    if (age > ECGMOE_EXACT_SAMPLES)
        return ecgmoe_unpacked(
            h->packed[ecgmoe_ring_position(h->next_packed, age - ECGMOE_EXACT_SAMPLES, ECGMOE_PACKED_SAMPLES)]);
#endif
    return h->data[ecgmoe_ring_position(h->next, age, ECGMOE_EXACT_SAMPLES + 1)];
}

/* A sample, or the kept one nearest to it; at least one sample is kept. */
static inline ecgmoe_real ecgmoe_history_at(const ecgmoe_history *h, int64_t sample) {
    int64_t start = ecgmoe_history_start(h);
    return ecgmoe_history_kept(h, ecgmoe_min_i64(ecgmoe_max_i64(sample, start), h->stop - 1));
}

/* Write the `n` samples from `first` on, each as `ecgmoe_history_at` gives it. */
static inline void ecgmoe_history_read(const ecgmoe_history *h, int64_t first, int32_t n, ecgmoe_real *out) {
    if (first < ecgmoe_max_i64(h->first, h->stop - ECGMOE_EXACT_SAMPLES) || first + n > h->stop) {
        for (int32_t i = 0; i < n; i++)
            out[i] = ecgmoe_history_at(h, first + i);
        return;
    }
    int32_t at = ecgmoe_ring_position(h->next, (int32_t)(h->stop - first), ECGMOE_EXACT_SAMPLES + 1);
    for (int32_t i = 0; i < n; i++) {
        out[i] = h->data[at];
        at = at < ECGMOE_EXACT_SAMPLES ? at + 1 : 0;
    }
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
    return h->data[ecgmoe_ring_position(h->next, (int32_t)(h->stop - sample), ECGMOE_RAW_SAMPLES)];
}

#endif

/*
 * What all parts of the monitor share: the type of its numbers, its capacity, and the mathematics in that type.
 *
 * Four settings of the compiler, the same for all files of one program:
 *   -DECGMOE_REAL_FLOAT     32-bit arithmetic; without it, 64-bit. Build with -ffp-contract=off for the same events as
 *                           the Python engine.
 *   -DECGMOE_MAX_FS=250     highest sampling rate, Hz: 100 to 1000
 *   -DECGMOE_MAX_LEADS=1    most leads: 1 to 3
 *   -DECGMOE_AHEAD=0        most samples that are filtered together; 32 in 64 bits, 0 in 32 bits
 * Capacity costs memory only: a monitor runs at any rate and with any number of leads within it.
 */
#ifndef ECGMOE_CONFIG_H
#define ECGMOE_CONFIG_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef ECGMOE_MAX_FS
#define ECGMOE_MAX_FS 1000
#endif
#ifndef ECGMOE_MAX_LEADS
#define ECGMOE_MAX_LEADS 3
#endif

#if ECGMOE_MAX_FS < 100 || ECGMOE_MAX_FS > 1000
#error "ECGMOE_MAX_FS is the highest sampling rate in Hz: set it from 100 to 1000, for example -DECGMOE_MAX_FS=250."
#endif
#if ECGMOE_MAX_LEADS < 1 || ECGMOE_MAX_LEADS > 3
#error "ECGMOE_MAX_LEADS is the largest number of leads: set it to 1, 2 or 3, for example -DECGMOE_MAX_LEADS=1."
#endif

/* Sizes of arrays: samples in this time at the highest rate, rounded up. Whole numbers only, so that it is a constant
 * expression of C99. At run time, use the counts of samples in the constants instead. */
#define ECGMOE_MS(milliseconds) (((milliseconds) * ECGMOE_MAX_FS + 999) / 1000)
#define ECGMOE_SECONDS(seconds) ((seconds) * ECGMOE_MAX_FS)

/* Most samples that are filtered together, see ecgmoe_front_end_ahead.h; 0: each on its own, which needs less memory. */
#ifndef ECGMOE_AHEAD
#ifdef ECGMOE_REAL_FLOAT
#define ECGMOE_AHEAD 0
#else
#define ECGMOE_AHEAD 32
#endif
#endif

#ifdef ECGMOE_REAL_FLOAT
typedef float ecgmoe_real;
#define ECGMOE_R(literal) literal##f /* a literal in the type of the numbers: ECGMOE_R(0.5) */
#define ECGMOE_EPSILON FLT_EPSILON
#define ecgmoe_sqrt sqrtf
#define ecgmoe_log logf
#define ecgmoe_log1p log1pf
#define ecgmoe_exp expf
#define ecgmoe_pow powf
#define ecgmoe_sin sinf
#define ecgmoe_cos cosf
#define ecgmoe_atan2 atan2f
#define ecgmoe_hypot hypotf
#define ecgmoe_fabs fabsf
#define ecgmoe_floor floorf
#define ecgmoe_ceil ceilf
#define ecgmoe_rint rintf
#else
typedef double ecgmoe_real;
#define ECGMOE_R(literal) literal
#define ECGMOE_EPSILON DBL_EPSILON
#define ecgmoe_sqrt sqrt
#define ecgmoe_log log
#define ecgmoe_log1p log1p
#define ecgmoe_exp exp
#define ecgmoe_pow pow
#define ecgmoe_sin sin
#define ecgmoe_cos cos
#define ecgmoe_atan2 atan2
#define ecgmoe_hypot hypot
#define ecgmoe_fabs fabs
#define ecgmoe_floor floor
#define ecgmoe_ceil ceil
#define ecgmoe_rint rint /* ties to even, as Python's round() and numpy.rint */
#endif

#define ECGMOE_NONE_REAL ((ecgmoe_real)NAN) /* what Python calls None, for a number */
#define ECGMOE_INFINITY ((ecgmoe_real)INFINITY)
#define ECGMOE_NEVER ((int64_t)1 << 62) /* a sample that never comes */

/* Numbers of samples are int64_t and count lost samples too: 2^62 samples are far more than a life. */

static inline bool ecgmoe_is_none(ecgmoe_real x) {
    return isnan(x) != 0;
}

static inline ecgmoe_real ecgmoe_min(ecgmoe_real a, ecgmoe_real b) {
    return a < b ? a : b;
}

static inline ecgmoe_real ecgmoe_max(ecgmoe_real a, ecgmoe_real b) {
    return a > b ? a : b;
}

static inline int64_t ecgmoe_min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t ecgmoe_max_i64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

#endif

/*
 * The patient's past RR intervals, and the features of a new one relative to them.
 * Python: ecgmoe_edge/streaming/patient/rr_history.py.
 *
 * Intervals are held once, as numbers of samples in 16 bits, which is exact: the last 8, 32 and 64 of them, and their
 * successive differences, are read from the same ring. Longer intervals than 16 bits hold are limited in any case. In
 * 32-bit builds the log ratios of the RR sequence are stored in 16 bits too.
 */
#ifndef ECGMOE_RR_HISTORY_H
#define ECGMOE_RR_HISTORY_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

#ifdef ECGMOE_REAL_FLOAT
typedef int16_t ecgmoe_stored_ratio;
#else
typedef float ecgmoe_stored_ratio;
#endif

/* The features, in the order of rr_history.RR_FEATURE_NAMES. */
enum {
    ECGMOE_RR_TO_MEAN_OF_8,
    ECGMOE_RR_TO_MEDIAN_OF_64,
    ECGMOE_RR_TO_BEFORE,
    ECGMOE_RR_BEFORE_TO_MEAN_OF_8,
    ECGMOE_RR_SECOND_TO_MEAN_OF_8,
    ECGMOE_RR_SPREAD_OF_8,
    ECGMOE_RR_STEP_OF_16,
    ECGMOE_RR_SHORTEST_OF_8,
    ECGMOE_RR_TO_MEDIAN_OF_300,
    ECGMOE_RR_MEDIAN_OF_8_TO_300,
    ECGMOE_RR_ROBUST_Z,
    ECGMOE_RR_STEP_OF_32,
    ECGMOE_RR_IRREGULAR_SHARE,
    ECGMOE_RR_KNOWN, /* the features before it are zero if the RR interval is unknown */
    ECGMOE_RR_LENGTH
};

typedef struct {
    ecgmoe_real fs;                   /* Hz */
    ecgmoe_real shortest_s;           /* rr_history.SHORTEST_S */
    ecgmoe_real longest_s;            /* rr_history.LONGEST_S */
    ecgmoe_real irregular_deviation;  /* rr_history.IRREGULAR_DEVIATION */
    ecgmoe_real ratio_limit;          /* rr_history.RR_RATIO_LIMIT */
    ecgmoe_real z_limit;              /* rr_history.Z_LIMIT */
    ecgmoe_real z_of_median;          /* rr_history.Z_OF_MEDIAN */
    ecgmoe_real z_of_deviation;       /* rr_history.Z_OF_DEVIATION */
} ecgmoe_rr_history_constants;

typedef struct {
    const ecgmoe_rr_history_constants *constants;
    uint16_t past[ECGMOE_RR_MEMORY]; /* a ring of intervals in samples */
    uint16_t next;                   /* where the next interval goes */
    uint16_t count;                  /* number of intervals in the ring */
    uint16_t usual;                  /* about their median: where its search begins */
    ecgmoe_stored_ratio sequence[ECGMOE_RR_SEQUENCE]; /* log ratios to the median, oldest first */
    uint32_t known;                     /* one bit for each of them, newest lowest: whether the interval was known */
} ecgmoe_rr_history;

void ecgmoe_rr_history_init(ecgmoe_rr_history *history, const ecgmoe_rr_history_constants *constants);

/*
 * Compute features and sequence of the next beat. `rr`: samples to the R peak before; 0 if it is unknown. `remembers`:
 * whether later intervals are compared with this one.
 */
void ecgmoe_rr_history_add(ecgmoe_rr_history *history, int32_t rr, bool remembers, float features[ECGMOE_RR_FEATURES],
                           float sequence[2][ECGMOE_RR_SEQUENCE]);

#endif

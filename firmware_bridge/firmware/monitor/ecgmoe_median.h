/*
 * The median of a few numbers, and the running median of a stream. Python: signal/median.py.
 */
#ifndef ECGMOE_MEDIAN_H
#define ECGMOE_MEDIAN_H

#include "ecgmoe_config.h"

/* Median of the last `keep` numbers, which are kept sorted. The caller owns the arrays, so that one type serves every
 * length, and gives the same arrays to each call:
 *
 *     ecgmoe_median beats;
 *     ecgmoe_real sorted[32];
 *     uint8_t order[32];
 */
typedef struct {
    uint8_t count;
    uint8_t next; /* order of the next number; it wraps */
} ecgmoe_median;

/* Sort `n` numbers in place. */
void ecgmoe_sort(ecgmoe_real *numbers, int32_t n);

/* Median of at least one sorted number; of an even count, the mean of the two in the middle. */
ecgmoe_real ecgmoe_median_sorted(const ecgmoe_real *sorted, int32_t n);

/* The number at `place` (from 0) if `n` numbers were sorted; they are put into another order: those before that place are
 * not larger, those after it are not smaller (Hoare's selection). */
ecgmoe_real ecgmoe_select(ecgmoe_real *numbers, int32_t n, int32_t place);

/* Median of at least one number. The numbers are put into another order. */
ecgmoe_real ecgmoe_median_of(ecgmoe_real *numbers, int32_t n);

void ecgmoe_median_init(ecgmoe_median *m);

/* Add the next number, and drop the oldest if there are more than `keep`, which is less than 256. */
void ecgmoe_median_add(ecgmoe_median *m, ecgmoe_real *sorted, uint8_t *order, int32_t keep, ecgmoe_real value);

/* Median of at least one number. */
static inline ecgmoe_real ecgmoe_median_value(const ecgmoe_median *m, const ecgmoe_real *sorted) {
    return ecgmoe_median_sorted(sorted, m->count);
}

#endif

/*
 * The last few numbers of a series, oldest first, and their median. Python: `deque(maxlen=...)` and `RunningMedian` with a
 * memory of a few numbers, for which sorting them again is as fast as keeping them sorted, and needs half the memory.
 */
#ifndef ECGMOE_RECENT_H
#define ECGMOE_RECENT_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

#define ECGMOE_RECENT (ECGMOE_SHIFTS > ECGMOE_QRS_MEMORY ? ECGMOE_SHIFTS : ECGMOE_QRS_MEMORY)

typedef struct {
    ecgmoe_real values[ECGMOE_RECENT];
    uint8_t count;
} ecgmoe_recent;

static inline void ecgmoe_recent_clear(ecgmoe_recent *recent) {
    recent->count = 0;
}

/* Add a number, and drop the oldest if there are more than `keep`, which is at most ECGMOE_RECENT. */
static inline void ecgmoe_recent_add(ecgmoe_recent *recent, int keep, ecgmoe_real value) {
    int count = recent->count;
    if (count == keep) {
        count--;
        for (int k = 0; k < count; k++) {
            recent->values[k] = recent->values[k + 1];
        }
    }
    recent->values[count] = value;
    recent->count = (uint8_t)(count + 1);
}

/* Median of at least one number; of an even count, the mean of the two in the middle. */
static inline ecgmoe_real ecgmoe_recent_median(const ecgmoe_recent *recent) {
    ecgmoe_real ordered[ECGMOE_RECENT];
    const int count = recent->count, middle = count / 2;
    for (int k = 0; k < count; k++) {
        int place = k;
        while (place > 0 && ordered[place - 1] > recent->values[k]) {
            ordered[place] = ordered[place - 1];
            place--;
        }
        ordered[place] = recent->values[k];
    }
    return count % 2 ? ordered[middle] : ECGMOE_R(0.5) * (ordered[middle - 1] + ordered[middle]);
}

#endif

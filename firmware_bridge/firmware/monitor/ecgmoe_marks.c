#include "ecgmoe_marks.h"

#include <string.h>

void ecgmoe_marks_clear(ecgmoe_marks *m, uint8_t *bits, int32_t bytes) {
    m->stop = INT64_MIN;
    memset(bits, 0, (size_t)bytes);
}

static void put(uint8_t *bits, int32_t bytes, int64_t sample, bool marked) {
    uint32_t place = (uint32_t)((uint64_t)sample & (8u * (uint32_t)bytes - 1u));
    uint32_t bit = 1u << (place & 7u);
    bits[place >> 3] = (uint8_t)(marked ? bits[place >> 3] | bit : bits[place >> 3] & ~bit);
}

void ecgmoe_marks_set(ecgmoe_marks *m, uint8_t *bits, int32_t bytes, int64_t start, int64_t stop) {
    /* The places of the samples since the last mark still have the marks of samples long ago. */
    int64_t oldest = stop - 8 * (int64_t)bytes;
    for (int64_t sample = ecgmoe_max_i64(m->stop, oldest); sample < start; sample++)
        put(bits, bytes, sample, false);
    for (int64_t sample = ecgmoe_max_i64(start, oldest); sample < stop; sample++)
        put(bits, bytes, sample, true);
    m->stop = ecgmoe_max_i64(m->stop, stop);
}

int32_t ecgmoe_marks_count(const ecgmoe_marks *m, const uint8_t *bits, int32_t bytes, int64_t start, int64_t stop) {
    int32_t count = 0;
    int64_t end = ecgmoe_min_i64(stop, m->stop);
    for (int64_t sample = start; sample < end; sample++)
        count += ecgmoe_marks_at(m, bits, bytes, sample);
    return count;
}

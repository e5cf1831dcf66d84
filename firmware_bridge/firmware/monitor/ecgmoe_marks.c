#include "ecgmoe_marks.h"

#include <string.h>

void ecgmoe_marks_clear(ecgmoe_marks *m, uint8_t *bits, int32_t bytes) {
    m->stop = INT64_MIN / 2; /* there is none: no sample number is so low */
    memset(bits, 0, (size_t)bytes);
}

/* Write samples `start` to `stop` (exclusive), at most as many as there are bits. */
static void write(uint8_t *bits, int32_t bytes, int64_t start, int64_t stop, bool marked) {
    if (start >= stop)
        return;
    uint32_t place = ecgmoe_marks_place(bytes, start);
    for (int64_t sample = start; sample < stop; sample++) {
        uint32_t bit = 1u << (place & 7u);
        bits[place >> 3] = (uint8_t)(marked ? bits[place >> 3] | bit : bits[place >> 3] & ~bit);
        place = place + 1 < 8u * (uint32_t)bytes ? place + 1 : 0;
    }
}

void ecgmoe_marks_set(ecgmoe_marks *m, uint8_t *bits, int32_t bytes, int64_t start, int64_t stop) {
    /* The places of the samples since the last mark still have the marks of samples long ago. */
    int64_t oldest = ecgmoe_max_i64(0, stop - 8 * (int64_t)bytes);
    write(bits, bytes, ecgmoe_max_i64(m->stop, oldest), start, false);
    write(bits, bytes, ecgmoe_max_i64(start, oldest), stop, true);
    m->stop = ecgmoe_max_i64(m->stop, stop);
}

int32_t ecgmoe_marks_count(const ecgmoe_marks *m, const uint8_t *bits, int32_t bytes, int64_t start, int64_t stop) {
    int64_t oldest = ecgmoe_max_i64(0, m->stop - 8 * (int64_t)bytes);
    int64_t first = ecgmoe_max_i64(start, oldest), end = ecgmoe_min_i64(stop, m->stop);
    int32_t count = 0;
    if (first >= end)
        return 0;
    uint32_t place = ecgmoe_marks_place(bytes, first);
    for (int64_t sample = first; sample < end; sample++) {
        count += (int32_t)((uint32_t)bits[place >> 3] >> (place & 7u) & 1u);
        place = place + 1 < 8u * (uint32_t)bytes ? place + 1 : 0;
    }
    return count;
}

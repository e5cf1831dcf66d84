#include "ecgmoe_bridge.h"

#include <string.h>

void ecgmoe_bridge_init(ecgmoe_bridge *b, const ecgmoe_bridge_constants *constants, int n_leads) {
    memset(b, 0, sizeof *b);
    b->constants = constants;
    b->n_leads = (int8_t)n_leads;
    ecgmoe_bridge_restart(b, 0);
}

void ecgmoe_bridge_restart(ecgmoe_bridge *b, int64_t at) {
    b->stop = b->arrived = at;
    for (int k = 0; k < b->n_leads; k++) {
        b->before[k] = ECGMOE_NONE_REAL;
        b->open[k] = 0;
    }
    b->n_holes = b->n_new = 0;
}

static void add_hole(ecgmoe_bridge *b, int64_t start, int64_t stop, ecgmoe_gap_reason reason, uint8_t leads) {
    if (b->n_holes == ECGMOE_MOST_HOLES) /* not possible: see there */
        return;
    b->holes[b->n_holes++] = (ecgmoe_short_hole){(uint32_t)start, (uint8_t)(stop - start), (uint8_t)reason, leads};
    b->n_new++;
}

/* Add a hole in parts: it is divided where a loss begins or ends. */
static void add_parts(ecgmoe_bridge *b, const ecgmoe_waiting_samples *waiting, int64_t start, int64_t stop,
                      ecgmoe_gap_reason reason, uint8_t leads) {
    int64_t first = start;
    for (int64_t at = start; at < stop; at++) {
        uint8_t lost = waiting->lost[ecgmoe_waiting_place(at)];
        bool ends = at + 1 == stop;
        if (!ends) {
            uint8_t next = waiting->lost[ecgmoe_waiting_place(at + 1)];
            ends = (next & ECGMOE_LOSS_BEGINS) != 0 || ((lost ^ next) & ECGMOE_LOST) != 0;
        }
        if (ends) {
            bool is_loss = (lost & ECGMOE_LOST) != 0;
            add_hole(b, first, at + 1, is_loss ? (ecgmoe_gap_reason)(lost & ECGMOE_LOSS_REASON) : reason, leads);
            first = at + 1;
        }
    }
}

/* Replace the open hole of lead `k` by a line to the newest sample. */
static void draw_line(const ecgmoe_bridge *b, ecgmoe_waiting_samples *waiting, int k) {
    int64_t end = b->arrived;
    int32_t width = b->open[k];
    ecgmoe_real before = b->before[k], rise = waiting->x[k][ecgmoe_waiting_place(end)] - before;
    for (int32_t i = 1; i <= width; i++)
        waiting->x[k][ecgmoe_waiting_place(end - width - 1 + i)] =
            before + rise * (ecgmoe_real)i / (ecgmoe_real)(width + 1);
}

static ecgmoe_gap_reason reason_of(const ecgmoe_bridge *b, int k) {
    return b->out_of_range[k] ? ECGMOE_GAP_RANGE : ECGMOE_GAP_NAN;
}

/* Bridge the holes of the leads `closed`, which end with the newest sample: the longest first, each for all leads that
 * have the same hole. */
static void close_holes(ecgmoe_bridge *b, ecgmoe_waiting_samples *waiting, uint8_t closed) {
    while (closed != 0) {
        int longest = -1;
        for (int k = 0; k < b->n_leads; k++) {
            if ((closed >> k & 1) == 0)
                continue;
            if (longest < 0 || b->open[k] > b->open[longest] ||
                (b->open[k] == b->open[longest] && reason_of(b, k) < reason_of(b, longest)))
                longest = k;
        }
        int16_t width = b->open[longest];
        ecgmoe_gap_reason reason = reason_of(b, longest);
        uint8_t leads = 0;
        for (int k = 0; k < b->n_leads; k++) {
            if ((closed >> k & 1) == 0 || b->open[k] != width || reason_of(b, k) != reason)
                continue;
            leads = (uint8_t)(leads | 1u << k);
            draw_line(b, waiting, k);
            b->open[k] = 0;
        }
        closed = (uint8_t)(closed & ~leads);
        add_parts(b, waiting, b->arrived - width, b->arrived, reason, leads);
    }
}

static void pass_on(ecgmoe_bridge *b) {
    int16_t longest = 0;
    for (int k = 0; k < b->n_leads; k++)
        longest = b->open[k] > longest ? b->open[k] : longest;
    b->stop = b->arrived - longest;
}

void ecgmoe_bridge_push(ecgmoe_bridge *b, ecgmoe_waiting_samples *waiting, const ecgmoe_real *x, uint8_t off,
                        uint8_t lost) {
    uint32_t place = ecgmoe_waiting_place(b->arrived);
    uint8_t closed = 0;
    waiting->lost[place] = lost;
    for (int k = 0; k < b->n_leads; k++) {
        bool is_nan = ecgmoe_is_none(x[k]), inside = ecgmoe_fabs(x[k]) <= b->constants->largest_mv;
        waiting->x[k][place] = inside || is_nan ? x[k] : ECGMOE_INFINITY;
        if ((off >> k & 1) != 0) {
            b->before[k] = ECGMOE_NONE_REAL;
        } else if (inside) {
            if (b->open[k] > 0)
                closed = (uint8_t)(closed | 1u << k);
        } else if (b->open[k] > 0) {
            b->out_of_range[k] = b->out_of_range[k] || !is_nan;
            b->open[k]++;
        } else if (!ecgmoe_is_none(b->before[k])) {
            b->out_of_range[k] = !is_nan;
            b->open[k] = 1;
        }
        if (b->open[k] > b->constants->longest) { /* too long */
            b->open[k] = 0;
            b->before[k] = ECGMOE_NONE_REAL;
        }
    }
    if (closed != 0)
        close_holes(b, waiting, closed);
    for (int k = 0; k < b->n_leads; k++)
        if (b->open[k] == 0 && (off >> k & 1) == 0 && ecgmoe_fabs(x[k]) <= b->constants->largest_mv)
            b->before[k] = x[k];
    b->arrived++;
    pass_on(b);
}

void ecgmoe_bridge_finish(ecgmoe_bridge *b) {
    for (int k = 0; k < b->n_leads; k++) {
        if (b->open[k] > 0)
            b->before[k] = ECGMOE_NONE_REAL;
        b->open[k] = 0;
    }
    pass_on(b);
}

static ecgmoe_hole unpacked(const ecgmoe_bridge *b, const ecgmoe_short_hole *hole) {
    int64_t start = b->arrived - (int64_t)(uint32_t)((uint32_t)b->arrived - hole->start);
    return (ecgmoe_hole){start, start + hole->width, (ecgmoe_gap_reason)hole->reason, hole->leads};
}

bool ecgmoe_bridge_new_hole(ecgmoe_bridge *b, ecgmoe_hole *hole) {
    if (b->n_new == 0)
        return false;
    *hole = unpacked(b, &b->holes[b->n_holes - b->n_new]);
    b->n_new--;
    return true;
}

bool ecgmoe_bridge_passed_hole(ecgmoe_bridge *b, int64_t stop, ecgmoe_hole *hole) {
    for (int i = 0; i < b->n_holes; i++) {
        *hole = unpacked(b, &b->holes[i]);
        if (hole->stop >= stop)
            continue;
        b->n_holes--;
        b->n_new = b->n_new < b->n_holes ? b->n_new : b->n_holes;
        memmove(&b->holes[i], &b->holes[i + 1], (size_t)(b->n_holes - i) * sizeof b->holes[0]);
        return true;
    }
    return false;
}

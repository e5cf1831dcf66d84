/*
 * Moving sums that neither drift nor grow. Python: `MovingSums` in signal/sums.py, with three signals.
 *
 * Cumulative sums start again at 0 with each block of fixed length, so no sum is ever of more than one block. The sum
 * over a window is the newest cumulative sum minus an older one; if that one belongs to the block before, its distance
 * to the total of its block counts.
 */
#ifndef ECGMOE_SUMS_H
#define ECGMOE_SUMS_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

enum { ECGMOE_SUMS = 3 }; /* number of signals */

typedef struct {
    ecgmoe_real sum[ECGMOE_SUMS];   /* newest cumulative sums */
    ecgmoe_real total[ECGMOE_SUMS]; /* totals of the block before */
    int32_t offset;                 /* position of the next sample in its block */
    int32_t slot;                   /* position of the oldest sums in `others` */
} ecgmoe_sums_newest;

/* Of the other signals, only sums over the short window are wanted, so only so many cumulative sums are kept. */
typedef struct {
    ecgmoe_real first[ECGMOE_MS(ECGMOE_BACKGROUND_MS)]; /* cumulative sums of signal 0 over the last block */
    ecgmoe_real others[ECGMOE_MS(ECGMOE_ENERGY_MS) + 1][ECGMOE_SUMS - 1];
    ecgmoe_sums_newest newest;
} ecgmoe_moving_sums;

/* Start a new signal; all samples before it count as 0. */
void ecgmoe_moving_sums_restart(ecgmoe_moving_sums *s);

/* Add the next sample of each signal.
 *
 * newest: `s->newest`, or a copy of it for some samples, which can stay in registers.
 * width, block: lengths of the short and of the long window in samples, the same in each call; width < block, at most
 *     ECGMOE_MS(ECGMOE_ENERGY_MS) + 1 and ECGMOE_MS(ECGMOE_BACKGROUND_MS).
 * over_width: sums of all signals over the short window that ends with this sample.
 * Returns the sum of signal 0 over the long window.
 */
static inline ecgmoe_real ecgmoe_moving_sums_push(
    ecgmoe_moving_sums *s,
    ecgmoe_sums_newest *newest,
    int32_t width,
    int32_t block,
    const ecgmoe_real x[ECGMOE_SUMS],
    ecgmoe_real over_width[ECGMOE_SUMS]) {
    const int32_t at = newest->offset;
    if (at == 0) {
        newest->total[0] = newest->sum[0];
        newest->total[1] = newest->sum[1];
        newest->total[2] = newest->sum[2];
        newest->sum[0] = newest->sum[1] = newest->sum[2] = 0;
    }
    const ecgmoe_real sum0 = newest->sum[0] + x[0], sum1 = newest->sum[1] + x[1], sum2 = newest->sum[2] + x[2];
    newest->sum[0] = sum0;
    newest->sum[1] = sum1;
    newest->sum[2] = sum2;
    const ecgmoe_real over_block = sum0 - (s->first[at] - newest->total[0]);
    s->first[at] = sum0;
    ecgmoe_real *const others = s->others[newest->slot];
    if (at >= width) {
        over_width[0] = sum0 - s->first[at - width];
        over_width[1] = sum1 - others[0];
        over_width[2] = sum2 - others[1];
    } else { /* the older sums are of the block before */
        over_width[0] = sum0 - (s->first[block + at - width] - newest->total[0]);
        over_width[1] = sum1 - (others[0] - newest->total[1]);
        over_width[2] = sum2 - (others[1] - newest->total[2]);
    }
    others[0] = sum1;
    others[1] = sum2;
    newest->slot = newest->slot + 1 < width ? newest->slot + 1 : 0;
    newest->offset = at + 1 < block ? at + 1 : 0;
    return over_block;
}

#endif

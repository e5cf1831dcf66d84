#include "ecgmoe_sums.h"

#include <string.h>

void ecgmoe_moving_sums_restart(ecgmoe_moving_sums *s) {
    memset(s, 0, sizeof *s);
}

ecgmoe_real ecgmoe_moving_sums_push(ecgmoe_moving_sums *s, int32_t width, int32_t block,
                                    const ecgmoe_real x[ECGMOE_SUMS], ecgmoe_real over_width[ECGMOE_SUMS]) {
    int32_t at = s->offset;
    bool in_block = at >= width; /* whether the older sum is of this block */
    for (int k = 0; k < ECGMOE_SUMS; k++)
        s->sum[k] = at > 0 ? s->sum[k] + x[k] : x[k];
    ecgmoe_real older = s->first[in_block ? at - width : block + at - width];
    over_width[0] = s->sum[0] - (in_block ? older : older - s->total[0]);
    ecgmoe_real over_block = s->sum[0] - (s->first[at] - s->total[0]);
    s->first[at] = s->sum[0];
    for (int k = 1; k < ECGMOE_SUMS; k++) {
        ecgmoe_real *place = &s->others[k - 1][s->slot];
        over_width[k] = s->sum[k] - (in_block ? *place : *place - s->total[k]);
        *place = s->sum[k];
    }
    s->slot = s->slot + 1 < width ? s->slot + 1 : 0;
    s->offset = at + 1 < block ? at + 1 : 0;
    if (s->offset == 0)
        memcpy(s->total, s->sum, sizeof s->total);
    return over_block;
}

#include "ecgmoe_intake.h"

#include <string.h>

void ecgmoe_intake_init(ecgmoe_intake *in, const ecgmoe_intake_constants *constants, int n_leads) {
    memset(in, 0, sizeof *in);
    in->constants = constants;
    in->n_leads = (int8_t)n_leads;
    ecgmoe_bridge_init(&in->bridge, &constants->bridge, n_leads);
    ecgmoe_pacing_init(&in->pacing, &constants->pacing, n_leads);
}

void ecgmoe_intake_restart(ecgmoe_intake *in, int64_t at) {
    in->at = in->before = at;
    in->last = false;
    ecgmoe_bridge_restart(&in->bridge, at);
    ecgmoe_pacing_restart(&in->pacing, at);
}

static void push(ecgmoe_intake *in, const ecgmoe_real *x, uint8_t off, uint8_t lost) {
    in->before = in->at;
    in->off = off;
    ecgmoe_bridge_push(&in->bridge, &in->waiting, x, off, lost);
}

/* Whether a sample is passed on at once: it is usable on all leads, none has a steep step, and nothing waits. */
static bool is_plain(const ecgmoe_intake *in, const ecgmoe_real *x) {
    const ecgmoe_intake_constants *c = in->constants;
    uint32_t place = ecgmoe_waiting_place(in->at - 1);
    if (in->at != in->bridge.arrived || in->at == in->pacing.start)
        return false;
    for (int k = 0; k < in->n_leads; k++)
        if (!(ecgmoe_fabs(x[k]) <= c->bridge.largest_mv) ||
            (c->pacing.enabled && !(ecgmoe_fabs(x[k] - in->waiting.x[k][place]) < c->pacing.least_step_mv)))
            return false;
    return true;
}

void ecgmoe_intake_push(ecgmoe_intake *in, const ecgmoe_real *x, uint8_t off) {
    if (off != 0 || !is_plain(in, x)) {
        push(in, x, off, 0);
        return;
    }
    /* The same in short, for nearly all samples. */
    uint32_t place = ecgmoe_waiting_place(in->at);
    in->before = in->at;
    in->off = 0;
    in->bridge.arrived++;
    in->bridge.stop = in->pacing.stop = in->bridge.arrived;
    in->waiting.lost[place] = 0;
    for (int k = 0; k < in->n_leads; k++) {
        in->waiting.x[k][place] = in->bridge.before[k] = x[k];
        in->pacing.at[k] = in->bridge.arrived;
    }
}

void ecgmoe_intake_push_lost(ecgmoe_intake *in, ecgmoe_gap_reason reason, bool begins, uint8_t off) {
    ecgmoe_real nothing[ECGMOE_MAX_LEADS];
    for (int k = 0; k < ECGMOE_MAX_LEADS; k++)
        nothing[k] = ECGMOE_NONE_REAL;
    push(in, nothing, off, (uint8_t)(ECGMOE_LOST | (begins ? ECGMOE_LOSS_BEGINS : 0) | (unsigned)reason));
}

void ecgmoe_intake_finish(ecgmoe_intake *in) {
    in->before = in->at;
    in->last = true;
    ecgmoe_bridge_finish(&in->bridge);
}

bool ecgmoe_intake_may_bridge(const ecgmoe_intake *in, int64_t lost, ecgmoe_gap_reason reason) {
    bool new_signal = reason == ECGMOE_GAP_RECONNECT || reason == ECGMOE_GAP_RESTART;
    return 0 < lost && lost <= in->constants->bridge.longest && !new_signal;
}

static void write_piece(ecgmoe_intake *in, ecgmoe_piece *piece) {
    uint32_t place = ecgmoe_waiting_place(in->at);
    uint8_t lost = in->waiting.lost[place];
    *piece = (ecgmoe_piece){.sample = in->at, .lost_by = ECGMOE_ARRIVED};
    if ((lost & ECGMOE_LOST) != 0)
        piece->lost_by = (int8_t)(lost & ECGMOE_LOSS_REASON);
    for (int k = 0; k < in->n_leads; k++) {
        ecgmoe_real x = in->waiting.x[k][place];
        bool is_off = (in->off >> k & 1) != 0;
        piece->x[k] = x;
        if (!is_off && ecgmoe_fabs(x) <= in->constants->bridge.largest_mv)
            piece->usable = (uint8_t)(piece->usable | 1u << k);
        else if (!is_off && !ecgmoe_is_none(x))
            piece->out_of_range = (uint8_t)(piece->out_of_range | 1u << k);
    }
}

bool ecgmoe_intake_next(ecgmoe_intake *in, ecgmoe_piece *piece) {
    if (in->at == in->bridge.arrived) {
        in->last = false;
        return false;
    }
    /* The pacing filter gets one sample at a time, so that few spikes and samples wait behind it. */
    while (ecgmoe_pacing_decided(&in->pacing) <= in->at) {
        int64_t stop = in->pacing.stop, end = in->bridge.stop;
        if (stop < end)
            ecgmoe_pacing_process(&in->pacing, &in->waiting, stop + 1, in->last && stop + 1 == end);
        else if (in->last && in->at < stop)
            ecgmoe_pacing_process(&in->pacing, &in->waiting, stop, true);
        else {
            in->last = false;
            return false;
        }
    }
    write_piece(in, piece);
    in->at++;
    return true;
}

/*
 * Ordinary samples together: nearly all samples are usable on all leads and without a steep step, and no signal begins or
 * ends with them. They are filtered some at a time; then each is processed on its own, with the same results.
 */
#include "ecgmoe_front_end_parts.h"

#if ECGMOE_AHEAD > 0

/* Most of the next samples that can be taken together if they are ordinary; 0 for none. */
static int32_t most_ahead(const ecgmoe_front_end *f) {
    const ecgmoe_intake *in = &f->intake;
    const uint8_t all = (uint8_t)((1u << f->n_leads) - 1u);
    bool waits = in->at != in->bridge.arrived || in->bridge.n_holes > 0 || in->pacing.n_all_spikes > 0;
    if (waits || in->at == in->pacing.start || f->off != 0 || f->usable != all || f->unusable.samples != 0)
        return 0;
    int32_t most = ECGMOE_AHEAD;
    for (int k = 0; k < f->n_leads; k++) {
        int32_t of_lead = ecgmoe_lead_signal_most_ahead(&f->leads[k]);
        most = of_lead < most ? of_lead : most;
    }
    return most;
}

/* Copy samples of lead `k` until one is not ordinary; returns how many of `most`. */
static int32_t copy_ordinary(ecgmoe_front_end *f, int k, const double *samples, int32_t most) {
    const ecgmoe_intake_constants *c = f->intake.constants;
    const ecgmoe_real largest = c->bridge.largest_mv;
    const ecgmoe_real steep = c->pacing.enabled ? c->pacing.least_step_mv : ECGMOE_INFINITY;
    ecgmoe_real before = f->intake.waiting.x[k][ecgmoe_waiting_place(f->intake.at - 1)];
    ecgmoe_real *x = f->ahead.leads[k].x;
    for (int32_t i = 0; i < most; i++) {
        x[i] = (ecgmoe_real)samples[i];
        if (!(ecgmoe_fabs(x[i]) <= largest) || !(ecgmoe_fabs(x[i] - before) < steep))
            return i;
        before = x[i];
    }
    return most;
}

/* Pass `n` ordinary samples of lead `k` through the intake, and filter them. */
static void filter_ahead(ecgmoe_front_end *f, int k, int32_t n) {
    ecgmoe_intake *in = &f->intake;
    ecgmoe_lead_ahead *ahead = &f->ahead.leads[k];
    for (int32_t i = n > ECGMOE_INTAKE_SAMPLES ? n - ECGMOE_INTAKE_SAMPLES : 0; i < n; i++) {
        uint32_t place = ecgmoe_waiting_place(in->at + i);
        in->waiting.x[k][place] = ahead->x[i];
        in->waiting.lost[place] = 0;
    }
    in->bridge.before[k] = ahead->x[n - 1];
    in->pacing.at[k] = in->at + n;
    if (ecgmoe_flatline_push_all(&f->leads[k].flatline, ahead->x, n))
        f->ahead.examined = (uint8_t)(f->ahead.examined | 1u << k);
    ecgmoe_lead_signal_filter_ahead(&f->leads[k], ahead, n);
}

int32_t ecgmoe_front_end_push_some(ecgmoe_front_end *f, const double *samples, ptrdiff_t stride, ptrdiff_t n) {
    int32_t most = most_ahead(f);
    most = n < most ? (int32_t)n : most;
    for (int k = 0; k < f->n_leads && most > 1; k++)
        most = copy_ordinary(f, k, samples + k * stride, most);
    if (most > 1) {
        f->ahead.examined = 0;
        for (int k = 0; k < f->n_leads; k++)
            filter_ahead(f, k, most);
        f->intake.bridge.stop = f->intake.pacing.stop = f->intake.at + most;
        f->ahead.count = most;
        f->ahead.next = 0;
        return most;
    }
    ecgmoe_real sample[ECGMOE_MAX_LEADS];
    for (int k = 0; k < f->n_leads; k++)
        sample[k] = (ecgmoe_real)samples[k * stride];
    ecgmoe_front_end_push(f, sample);
    return 1;
}

/* Detect flatline and clipping in sample number `i` of lead `k`, where it was not possible for all samples together. */
static void examine(ecgmoe_front_end *f, int k, int32_t i) {
    ecgmoe_flatline_report reports[ECGMOE_MOST_FLATLINE_REPORTS];
    int n = ecgmoe_lead_signal_detect_flatline(&f->leads[k], f->ahead.leads[k].x[i], f->position, reports);
    for (int j = 0; j < n; j++)
        ecgmoe_front_end_put_flatline(f, k, &reports[j], reports[j].known_at, ECGMOE_ORDER_FIRST);
}

void ecgmoe_front_end_process_ahead(ecgmoe_front_end *f) {
    const int32_t i = f->ahead.next++;
    const int64_t at = f->position;
    f->intake.before = at;
    f->intake.at = f->intake.bridge.arrived = at + 1;
    for (int k = 0; k < f->n_leads; k++)
        if ((f->ahead.examined >> k & 1) == 0)
            examine(f, k, i);
    for (int k = 0; k < f->n_leads; k++) {
        ecgmoe_candidate found;
        ecgmoe_following settled;
        unsigned flags = ecgmoe_lead_signal_take_ahead(&f->leads[k], &f->ahead.leads[k], i, &found, &settled);
        if (flags != 0)
            ecgmoe_front_end_take_found(f, k, flags, &found, &settled);
    }
    decide_sample(f, at);
    finish_sample(f, at);
}

#else

int32_t ecgmoe_front_end_push_some(ecgmoe_front_end *f, const double *samples, ptrdiff_t stride, ptrdiff_t n) {
    ecgmoe_real sample[ECGMOE_MAX_LEADS];
    (void)n;
    for (int k = 0; k < f->n_leads; k++)
        sample[k] = (ecgmoe_real)samples[k * stride];
    ecgmoe_front_end_push(f, sample);
    return 1;
}

#endif

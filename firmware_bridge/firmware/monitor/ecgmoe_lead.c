#include "ecgmoe_lead.h"

#include "ecgmoe_lead_steps.h"

#include <string.h>

void ecgmoe_lead_signal_init(ecgmoe_lead_signal *l, const ecgmoe_lead_constants *constants,
                      const ecgmoe_candidates_constants *candidates) {
    memset(l, 0, sizeof *l);
    l->constants = constants;
    l->impossible = constants->mains.impossible_hz > 0;
    ecgmoe_hum_init(&l->hum, &constants->mains);
    ecgmoe_flatline_init(&l->flatline, &constants->flatline);
    ecgmoe_quality_init(&l->quality, &constants->quality);
    ecgmoe_candidates_init(&l->finder, candidates);
    ecgmoe_marks_clear(&l->spikes, l->spike_bits, ECGMOE_SPIKE_BYTES);
    ecgmoe_marks_clear(&l->bridged, l->bridged_bits, ECGMOE_BRIDGED_BYTES);
    l->measured_from = INT64_MIN;
    ecgmoe_lead_signal_restart(l, 0);
}

void ecgmoe_lead_signal_restart(ecgmoe_lead_signal *l, int64_t at) {
    l->present = false;
    l->newest = at;
    ecgmoe_history_restart(&l->signal, at);
    ecgmoe_flatline_restart(&l->flatline, at);
}

void ecgmoe_lead_signal_begin(ecgmoe_lead_signal *l, int64_t at) {
    l->present = true;
    l->begun_at = at;
    l->newest = at;
    l->kept_back = l->constants->mains.automatic;
    l->block_ended = l->released = false;
    ecgmoe_raw_restart(&l->raw, at);
    ecgmoe_history_restart(&l->signal, at);
    ecgmoe_filter_reset(&l->band);
    ecgmoe_hum_restart(&l->hum, at);
    ecgmoe_candidates_restart(&l->finder, at);
    ecgmoe_quality_restart(&l->quality);
}

void ecgmoe_lead_signal_push(ecgmoe_lead_signal *l, ecgmoe_real x) {
    const ecgmoe_lead_constants *c = l->constants;
    ecgmoe_raw_append(&l->raw, x);
    ecgmoe_real y = ecgmoe_filter_push(&l->band, &c->band, c->sign * x);
    *ecgmoe_history_place(&l->signal, (int32_t)(l->newest - l->signal.stop)) = y;
    l->newest++;
    if (!c->mains.automatic || !ecgmoe_hum_measure(&l->hum, y))
        return;
    l->block_ended = true;
    if (l->kept_back) {
        ecgmoe_hum_decide(&l->hum);
        ecgmoe_hum_next_block(&l->hum);
        l->kept_back = l->block_ended = false;
    }
}

/* Leave out steps of the signal and pacing spikes; move an R peak on the tail of a spike to the QRS complex. */
static bool is_plausible(const ecgmoe_lead_signal *l, ecgmoe_candidate *candidate) {
    ecgmoe_lead_move_off_tail(l, candidate);
    int64_t known_at = ecgmoe_candidate_known_at(candidate);
    return !ecgmoe_lead_is_step(l, ecgmoe_candidate_sample(candidate), known_at) && !ecgmoe_lead_is_spike(l, candidate);
}

/* Search candidates in the next filtered sample. */
static unsigned find(ecgmoe_lead_signal *l, ecgmoe_candidate *found, ecgmoe_following *settled) {
    ecgmoe_real y = *ecgmoe_history_place(&l->signal, 0);
    if (l->constants->mains.automatic && !l->released)
        y = ecgmoe_hum_push(&l->hum, y);
    ecgmoe_history_append(&l->signal, y);
    unsigned flags = ecgmoe_candidates_push(&l->finder, &l->signal, y, found, settled);
    if ((flags & ECGMOE_CANDIDATE_FOUND) != 0 && !is_plausible(l, found))
        flags &= ~(unsigned)ECGMOE_CANDIDATE_FOUND;
    return flags;
}

/* At the end of a block: switch notches, and search the block again with those that are new. Only candidates are
 * searched again. `signal` is not changed, so that a beat that was complete before this decision keeps its window. */
static unsigned end_block(ecgmoe_lead_signal *l, ecgmoe_candidate *ignored, ecgmoe_following *settled) {
    ecgmoe_following none;
    unsigned flags = 0;
    int last = -1;
    l->block_ended = false;
    ecgmoe_hum_decide(&l->hum);
    for (int k = 0; k < ECGMOE_HUMS; k++)
        last = (l->hum.new_notches >> k & 1) != 0 ? k : last;
    if (last >= 0)
        flags = ecgmoe_candidates_run_again(&l->finder, l->hum.start, settled);
    /* Each new notch filters the block on its own, and what the last one gives is searched. */
    for (int k = 0; k <= last; k++) {
        if ((l->hum.new_notches >> k & 1) == 0)
            continue;
        for (int64_t at = l->hum.start; at < l->signal.stop; at++) {
            ecgmoe_real y = ecgmoe_notch_push(&l->hum.hums[k].notch, ecgmoe_history_kept(&l->signal, at));
            if (k == last)
                (void)ecgmoe_candidates_push(&l->finder, &l->signal, y, ignored, &none);
        }
    }
    ecgmoe_hum_next_block(&l->hum);
    return flags;
}

unsigned ecgmoe_lead_signal_next(ecgmoe_lead_signal *l, ecgmoe_candidate *found, ecgmoe_following *settled) {
    while (!l->kept_back && l->signal.stop < l->newest) {
        unsigned flags = find(l, found, settled);
        if (flags != 0)
            return flags;
    }
    return l->block_ended ? end_block(l, found, settled) : 0;
}

#if ECGMOE_AHEAD > 0
int32_t ecgmoe_lead_signal_most_ahead(const ecgmoe_lead_signal *l) {
    bool ordinary = l->present && l->band.started && l->newest == l->signal.stop && l->finder.stop > l->finder.start;
    if (!ordinary || l->kept_back || l->released || l->block_ended || l->impossible)
        return 0;
    int64_t most = ecgmoe_min_i64(ECGMOE_AHEAD, l->constants->flatline.flat - 1 - l->flatline.run);
    if (l->constants->mains.automatic)
        most = ecgmoe_min_i64(most, ecgmoe_hum_before_last(&l->hum));
    return (int32_t)ecgmoe_max_i64(most, 0);
}

void ecgmoe_lead_signal_filter_ahead(ecgmoe_lead_signal *l, ecgmoe_lead_ahead *ahead, int32_t n) {
    const ecgmoe_lead_constants *c = l->constants;
    for (int32_t i = 0; i < n; i++)
        ahead->y[i] = c->sign * ahead->x[i];
    ecgmoe_filter_push_all(&l->band, &c->band, ahead->y, n);
    if (c->mains.automatic) {
        ecgmoe_hum_measure_all(&l->hum, ahead->y, n);
        for (int32_t i = 0; i < n && l->hum.n_notches > 0; i++)
            ahead->y[i] = ecgmoe_hum_push(&l->hum, ahead->y[i]);
    }
    ecgmoe_candidates_filter_all(&l->finder, ahead->y, n, ahead->energies);
}

unsigned ecgmoe_lead_signal_take_ahead(
    ecgmoe_lead_signal *l, const ecgmoe_lead_ahead *ahead, int32_t i, ecgmoe_candidate *found,
    ecgmoe_following *settled) {
    ecgmoe_raw_append(&l->raw, ahead->x[i]);
    ecgmoe_history_append(&l->signal, ahead->y[i]);
    l->newest++;
    unsigned flags = ecgmoe_candidates_take(&l->finder, &l->signal, &ahead->energies[i], found, settled);
    if ((flags & ECGMOE_CANDIDATE_FOUND) != 0 && !is_plausible(l, found))
        flags &= ~(unsigned)ECGMOE_CANDIDATE_FOUND;
    return flags;
}
#endif

void ecgmoe_lead_signal_release(ecgmoe_lead_signal *l) {
    l->kept_back = false;
    l->released = true;
}

int ecgmoe_lead_signal_break_off(ecgmoe_lead_signal *l, int64_t known_at, ecgmoe_candidate found[ECGMOE_MOST_LEFT],
                          ecgmoe_following *settled) {
    int n = ecgmoe_candidates_break_off(&l->finder, &l->signal, known_at, found, settled), kept = 0;
    for (int i = 0; i < n; i++)
        if (is_plausible(l, &found[i])) {
            if (kept < i)
                found[kept] = found[i];
            kept++;
        }
    return kept;
}

bool ecgmoe_lead_signal_next_mains(ecgmoe_lead_signal *l, ecgmoe_mains_report *report) {
    if (l->impossible && l->present) {
        l->impossible = false;
        *report = (ecgmoe_mains_report){.known_at = l->begun_at + 1,
                                        .sample = l->begun_at,
                                        .mains = {.frequency_hz = l->constants->mains.impossible_hz,
                                                  .share = ECGMOE_NONE_REAL,
                                                  .amplitude_mv = ECGMOE_NONE_REAL,
                                                  .notch = ECGMOE_NOTCH_NOT_POSSIBLE,
                                                  .lead = ECGMOE_ABSENT}};
        return true;
    }
    return ecgmoe_hum_next_report(&l->hum, report);
}

int ecgmoe_lead_signal_end_flatline(ecgmoe_lead_signal *l, int64_t at,
                             ecgmoe_flatline_report out[ECGMOE_MOST_FLATLINE_REPORTS]) {
    int n = ecgmoe_flatline_break_off(&l->flatline, at, out);
    ecgmoe_flatline_restart(&l->flatline, at);
    return n;
}

void ecgmoe_lead_signal_spike(ecgmoe_lead_signal *l, int64_t sample, int32_t width) {
    ecgmoe_marks_set(&l->spikes, l->spike_bits, ECGMOE_SPIKE_BYTES, sample, sample + width);
}

void ecgmoe_lead_signal_bridge(ecgmoe_lead_signal *l, int64_t start, int64_t stop) {
    l->measured_from = ecgmoe_history_start(&l->signal);
    ecgmoe_marks_set(&l->bridged, l->bridged_bits, ECGMOE_BRIDGED_BYTES, start, stop);
}

bool ecgmoe_lead_signal_shows(const ecgmoe_lead_signal *l, int64_t r) {
    return l->present && ecgmoe_history_start(&l->signal) <= r && r + l->constants->window.after < l->signal.stop;
}

/* The measured (not bridged) fraction of samples `first` to `stop` (exclusive). */
static ecgmoe_real measured(const ecgmoe_lead_signal *l, int64_t first, int64_t stop) {
    int64_t begin = ecgmoe_max_i64(first, l->measured_from);
    int32_t bridged = ecgmoe_marks_count(&l->bridged, l->bridged_bits, ECGMOE_BRIDGED_BYTES, begin, stop);
    return ECGMOE_R(1.0) - (ecgmoe_real)bridged / (ecgmoe_real)(stop - first);
}

ecgmoe_real ecgmoe_lead_signal_quality(ecgmoe_lead_signal *l, const float *window, int64_t r) {
    const ecgmoe_lead_constants *c = l->constants;
    bool clipped = ecgmoe_flatline_clipped(&l->flatline, r - c->near, r + c->near + 1);
    int64_t since = (r - ecgmoe_history_start(&l->signal)) * c->model_rate_hz;
    ecgmoe_real quality = ecgmoe_quality_of_beat(&l->quality, window, c->window.r_index,
                                                 (int32_t)((ecgmoe_real)since / c->fs), clipped);
    ecgmoe_real all = measured(l, r - c->examined_before, r + c->examined_after);
    return all * measured(l, r - c->near, r + c->near + 1) * quality;
}

/* The part of the front end between the leads, the detector and the queue: candidates in, beats and changes out. */
#include "ecgmoe_front_end_parts.h"

#include <string.h>

void ecgmoe_front_end_add_silence(ecgmoe_front_end *f, int64_t arrived) {
    ecgmoe_silence passed[ECGMOE_SILENCE_LIMITS];
    if (f->silence_due > arrived)
        return;
    int n = ecgmoe_silence_run(&f->silence, arrived, passed);
    f->silence_due = ecgmoe_silence_due(&f->silence);
    for (int i = 0; i < n; i++)
        ecgmoe_queue_silence(&f->queue, &passed[i]);
}

/* Queue the beats with a `ready_at` of less than `arrived`; it is at most `latest`. */
static void add_beats(ecgmoe_front_end *f, int64_t arrived, int64_t latest) {
    while (f->builder.due < arrived) {
        const ecgmoe_built_beat *beat = ecgmoe_beat_builder_complete(&f->builder, f->leads, latest);
        int64_t ready_at = beat->sample + beat->ready_after;
        ecgmoe_front_end_add_silence(f, ready_at - 1);
        bool begins_rr = beat->sample >= f->chain_start + f->tables->front_end.t_wave;
        ecgmoe_silence_beat(&f->silence, beat->sample, ready_at, !beat->no_qrs, begins_rr);
        f->silence_due = ecgmoe_silence_due(&f->silence);
        ecgmoe_queue_beat(&f->queue, ready_at);
    }
}

void ecgmoe_front_end_complete_before(ecgmoe_front_end *f, int64_t arrived) {
    add_beats(f, arrived, ECGMOE_NEVER);
}

void ecgmoe_front_end_complete_all(ecgmoe_front_end *f, int64_t arrived) {
    add_beats(f, ECGMOE_NEVER, arrived);
}

/* Report that no lead has a signal from `sample` on. */
void ecgmoe_front_end_end_signal(ecgmoe_front_end *f, int64_t sample, int64_t known_at, bool lead_lost) {
    if (!f->silence.running)
        return;
    ecgmoe_front_end_add_silence(f, known_at - 1);
    ecgmoe_silence_stop(&f->silence);
    f->silence_due = ECGMOE_NEVER;
    ecgmoe_queue_signal_end(&f->queue, known_at, sample, lead_lost);
}

static void add_peak(ecgmoe_front_end *f, const ecgmoe_rpeak *peak) {
    int64_t r = peak->sample;
    if (r < f->chain_start + f->tables->front_end.edge)
        return;
    int32_t rr = 0;
    if (f->last_r >= 0)
        rr = (int32_t)ecgmoe_min_i64(r - f->last_r, INT32_MAX);
    f->last_r = r >= f->chain_start + f->tables->front_end.t_wave ? r : -1;
    ecgmoe_front_end_add_silence(f, peak->known_at - 1);
    ecgmoe_beat_builder_add(&f->builder, peak, rr, ecgmoe_intake_known_at(&f->intake, peak->known_at));
    ecgmoe_silence_peak(&f->silence, r);
    f->silence_due = ecgmoe_silence_due(&f->silence);
}

static ecgmoe_lead_change change_of(const ecgmoe_front_end *f, const ecgmoe_lead_status *status) {
    ecgmoe_lead_change change;
    memset(&change, 0, sizeof change);
    for (int k = 0; k < f->n_leads; k++) {
        if (has(status->clear, k)) {
            change.clear[change.n_clear++] = (int8_t)k;
        } else {
            change.reasons[change.n_others] = status->reasons[k];
            change.others[change.n_others++] = (int8_t)k;
        }
    }
    return change;
}

static bool same_change(const ecgmoe_lead_change *a, const ecgmoe_lead_change *b) {
    return a->n_clear == b->n_clear && !memcmp(a->clear, b->clear, sizeof a->clear) &&
           !memcmp(a->others, b->others, sizeof a->others) && !memcmp(a->reasons, b->reasons, sizeof a->reasons);
}

/* Report a change of the leads; of several at the same sample, only the last. */
static void report_change(ecgmoe_front_end *f, int64_t known_at, const ecgmoe_lead_change *change) {
    ecgmoe_lead_change *before = ecgmoe_queue_last_change(&f->queue, known_at);
    if (before) {
        bool broken = before->broken || change->broken;
        *before = *change;
        before->broken = broken;
        return;
    }
    ecgmoe_queue_event(&f->queue, known_at, ECGMOE_ORDER_NEXT, ECGMOE_EVENT_LEAD_CHANGE, known_at)->of.lead_change =
        *change;
}

static void change_status(ecgmoe_front_end *f, const ecgmoe_lead_status *status) {
    if (status->broken) {
        ecgmoe_front_end_complete_all(f, status->known_at);
        ecgmoe_front_end_end_signal(f, f->signal_end, status->known_at, true);
        f->last_r = -1;
    }
    ecgmoe_lead_change change = change_of(f, status);
    uint8_t no_ecg = 0;
    for (int i = 0; i < change.n_others; i++)
        if (change.reasons[i] == ECGMOE_LEAD_NO_ECG)
            no_ecg = (uint8_t)(no_ecg | 1u << change.others[i]);
    ecgmoe_beat_builder_use(&f->builder, status->order, status->n_order, no_ecg);
    bool is_new = no_ecg != f->no_ecg;
    if (f->n_leads > 1)
        is_new = status->broken || !same_change(&change, &f->reported);
    f->no_ecg = no_ecg;
    f->reported = change;
    change.broken = status->broken;
    if (is_new && !f->quiet)
        report_change(f, status->known_at, &change);
}

/* The sink of the detector. */
void ecgmoe_front_end_take_output(void *context, const ecgmoe_detector_output *output) {
    ecgmoe_front_end *f = context;
    if (output->kind == ECGMOE_DETECTOR_RPEAK) {
        ecgmoe_front_end_complete_before(f, output->of.rpeak.known_at);
        add_peak(f, &output->of.rpeak);
    } else {
        ecgmoe_front_end_complete_before(f, output->of.status.known_at);
        change_status(f, &output->of.status);
    }
}

/* -- candidates on their way to the detector */

static void collect(ecgmoe_front_end *f, int lead, const ecgmoe_candidate *candidate) {
#if ECGMOE_MAX_LEADS == 1
    ecgmoe_detector_candidate(&f->detector, lead, candidate);
#else
    ecgmoe_found *found = &f->found;
    if (f->n_leads == 1) {
        ecgmoe_detector_candidate(&f->detector, lead, candidate);
    } else if (found->count < ECGMOE_MOST_FOUND) { /* there is always room: they are 150 ms apart */
        found->leads[found->count] = (int8_t)lead;
        found->candidates[found->count++] = *candidate;
    }
#endif
}

/* Pass on what became known about a candidate, which may have been collected just before. */
static void pass_settled(ecgmoe_front_end *f, int lead, const ecgmoe_following *settled) {
#if ECGMOE_MAX_LEADS > 1
    for (int i = 0; i < f->found.count; i++) {
        ecgmoe_candidate *each = &f->found.candidates[i];
        if (f->found.leads[i] == lead && each->at == settled->at) {
            each->following = settled->following;
            each->settled_after = settled->settled_after;
            return;
        }
    }
#endif
    ecgmoe_detector_settle(&f->detector, lead, settled);
}

/* Take what became known about a lead. */
void ecgmoe_front_end_take_found(ecgmoe_front_end *f, int k, unsigned flags, const ecgmoe_candidate *found,
                                 const ecgmoe_following *settled) {
    if (flags & ECGMOE_CANDIDATE_SETTLED)
        pass_settled(f, k, settled);
    if (flags & ECGMOE_CANDIDATE_FOUND)
        collect(f, k, found);
}

/* Collect what the newest samples of a lead made known. */
void ecgmoe_front_end_collect_found(ecgmoe_front_end *f, int k) {
    ecgmoe_candidate found;
    ecgmoe_following settled;
    unsigned flags;
    while ((flags = ecgmoe_lead_signal_next(&f->leads[k], &found, &settled)) != 0)
        ecgmoe_front_end_take_found(f, k, flags, &found, &settled);
}

/* Collect the remaining candidates of a lead when no more samples come, which is certain at `known_at`. */
void ecgmoe_front_end_break_off(ecgmoe_front_end *f, int k, int64_t known_at) {
    ecgmoe_candidate found[ECGMOE_MOST_LEFT];
    ecgmoe_following settled;
    if (!f->leads[k].present)
        return;
    ecgmoe_lead_signal_release(&f->leads[k]);
    ecgmoe_front_end_collect_found(f, k);
    int n = ecgmoe_lead_signal_break_off(&f->leads[k], known_at, found, &settled);
    if (settled.at != ECGMOE_NO_SAMPLE)
        pass_settled(f, k, &settled);
    for (int i = 0; i < n; i++)
        collect(f, k, &found[i]);
}

/* Report the collected candidates, each once: `sorted`, the earliest known first, else in the order of the leads. */
void ecgmoe_front_end_report_found(ecgmoe_front_end *f, bool sorted) {
#if ECGMOE_MAX_LEADS > 1
    ecgmoe_found *found = &f->found;
    for (int left = found->count; left > 0; left--) {
        int next = -1;
        for (int i = 0; i < found->count; i++) {
            if (found->leads[i] == ECGMOE_ABSENT)
                continue;
            if (next < 0 || (sorted && ecgmoe_candidate_known_at(&found->candidates[i]) <
                                           ecgmoe_candidate_known_at(&found->candidates[next])))
                next = i;
        }
        ecgmoe_detector_candidate(&f->detector, found->leads[next], &found->candidates[next]);
        found->leads[next] = ECGMOE_ABSENT;
    }
    found->count = 0;
#else
    (void)f;
    (void)sorted;
#endif
}

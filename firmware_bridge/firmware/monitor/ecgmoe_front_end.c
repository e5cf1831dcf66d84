#include "ecgmoe_front_end.h"

#include <string.h>

/* A lead whose signal ends, and why. */
typedef struct {
    int8_t lead;
    ecgmoe_lead_reason reason;
} ecgmoe_ending;

static bool has(uint8_t leads, int lead) {
    return (leads >> lead & 1) != 0;
}

/* The lead of an event: none is named if there is only one. */
static int8_t named(const ecgmoe_front_end *f, int lead) {
    return (int8_t)(f->n_leads > 1 ? lead : ECGMOE_ABSENT);
}

/* -- output of the detector */

static void add_silence(ecgmoe_front_end *f, int64_t arrived) {
    ecgmoe_silence passed[ECGMOE_SILENCE_LIMITS];
    if (ecgmoe_silence_due(&f->silence) > arrived)
        return;
    int n = ecgmoe_silence_run(&f->silence, arrived, passed);
    for (int i = 0; i < n; i++)
        ecgmoe_queue_put(&f->queue, passed[i].known_at, ECGMOE_ORDER_SILENCE, ECGMOE_ITEM_SILENCE)->of.silence =
            passed[i];
}

/* Queue the beats with a `ready_at` of less than `arrived`; it is at most `latest`. */
static void add_beats(ecgmoe_front_end *f, int64_t arrived, int64_t latest) {
    while (ecgmoe_beat_builder_due(&f->builder) < arrived) {
        ecgmoe_complete_beat beat;
        ecgmoe_beat_builder_complete(&f->builder, f->leads, latest, &beat);
        add_silence(f, beat.ready_at - 1);
        bool begins_rr = beat.sample >= f->chain_start + f->tables->front_end.t_wave;
        ecgmoe_silence_beat(&f->silence, beat.sample, beat.ready_at, !beat.no_qrs, begins_rr);
        ecgmoe_queue_put_beat(&f->queue, &beat);
    }
}

static void complete_before(ecgmoe_front_end *f, int64_t arrived) {
    add_beats(f, arrived, ECGMOE_NEVER);
}

static void complete_all(ecgmoe_front_end *f, int64_t arrived) {
    add_beats(f, ECGMOE_NEVER, arrived);
}

/* Report that no lead has a signal from `sample` on. */
static void end_signal(ecgmoe_front_end *f, int64_t sample, int64_t known_at, bool lead_lost) {
    if (!f->silence.running)
        return;
    add_silence(f, known_at - 1);
    ecgmoe_silence_stop(&f->silence);
    ecgmoe_item *item = ecgmoe_queue_put(&f->queue, known_at, ECGMOE_ORDER_NEXT, ECGMOE_ITEM_SIGNAL_END);
    item->of.signal_end.sample = sample;
    item->of.signal_end.lead_lost = lead_lost;
}

static void add_peak(ecgmoe_front_end *f, const ecgmoe_rpeak *peak) {
    int64_t r = peak->sample;
    if (r < f->chain_start + f->tables->front_end.edge)
        return;
    ecgmoe_waiting_beat beat = {r, peak->known_at, ecgmoe_intake_known_at(&f->intake, peak->known_at),
                                peak->recurrence, 0, peak->search_back};
    if (f->last_r >= 0)
        beat.rr = (int32_t)ecgmoe_min_i64(r - f->last_r, INT32_MAX);
    f->last_r = r >= f->chain_start + f->tables->front_end.t_wave ? r : -1;
    add_silence(f, peak->known_at - 1);
    ecgmoe_beat_builder_add(&f->builder, &beat);
    ecgmoe_silence_peak(&f->silence, r);
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
    ecgmoe_event event;
    event.kind = ECGMOE_EVENT_LEAD_CHANGE;
    event.sample = known_at;
    event.of.lead_change = *change;
    ecgmoe_queue_put_event(&f->queue, known_at, ECGMOE_ORDER_NEXT, &event);
}

static void change_status(ecgmoe_front_end *f, const ecgmoe_lead_status *status) {
    if (status->broken) {
        complete_all(f, status->known_at);
        end_signal(f, f->signal_end, status->known_at, true);
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
static void take_output(void *context, const ecgmoe_detector_output *output) {
    ecgmoe_front_end *f = context;
    if (output->kind == ECGMOE_DETECTOR_RPEAK) {
        complete_before(f, output->of.rpeak.known_at);
        add_peak(f, &output->of.rpeak);
    } else {
        complete_before(f, output->of.status.known_at);
        change_status(f, &output->of.status);
    }
}

/* -- candidates on their way to the detector */

static void collect(ecgmoe_front_end *f, int lead, const ecgmoe_candidate *candidate) {
    ecgmoe_found *found = &f->found;
    if (found->count == ECGMOE_MOST_FOUND) /* cannot happen: they are 150 ms apart */
        return;
    found->leads[found->count] = (int8_t)lead;
    found->candidates[found->count++] = *candidate;
}

/* Pass on what became known about a candidate, which may have been collected just before. */
static void settle(ecgmoe_front_end *f, int lead, const ecgmoe_following *settled) {
    for (int i = 0; i < f->found.count; i++) {
        ecgmoe_candidate *each = &f->found.candidates[i];
        if (f->found.leads[i] == lead && each->at == settled->at) {
            each->following = settled->following;
            each->settled_after = settled->settled_after;
            return;
        }
    }
    ecgmoe_detector_settle(&f->detector, lead, settled);
}

/* Collect what the newest samples of a lead made known. */
static void collect_found(ecgmoe_front_end *f, int k) {
    ecgmoe_candidate found;
    ecgmoe_following settled;
    unsigned flags;
    while ((flags = ecgmoe_lead_signal_next(&f->leads[k], &found, &settled)) != 0) {
        if (flags & ECGMOE_CANDIDATE_SETTLED)
            settle(f, k, &settled);
        if (flags & ECGMOE_CANDIDATE_FOUND)
            collect(f, k, &found);
    }
}

/* Collect the remaining candidates of a lead when no more samples come, which is certain at `known_at`. */
static void break_off(ecgmoe_front_end *f, int k, int64_t known_at) {
    ecgmoe_candidate found[ECGMOE_MOST_LEFT];
    ecgmoe_following settled;
    if (!f->leads[k].present)
        return;
    ecgmoe_lead_signal_release(&f->leads[k]);
    collect_found(f, k);
    int n = ecgmoe_lead_signal_break_off(&f->leads[k], known_at, found, &settled);
    for (int i = 0; i < n; i++)
        collect(f, k, &found[i]);
    if (settled.at != ECGMOE_NO_SAMPLE)
        settle(f, k, &settled);
}

/* Report the collected candidates, each once: `sorted`, the earliest known first, else in the order of the leads. */
static void report_found(ecgmoe_front_end *f, bool sorted) {
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
}

/* -- leads whose signal begins or ends */

/* End the signal of some leads before sample `at`, and begin that of other leads (a mask) at it. */
static void change_leads(ecgmoe_front_end *f, const ecgmoe_ending *ends, int n_ends, uint8_t begins, int64_t at,
                         int64_t known_at) {
    bool flat = true;
    for (int i = 0; i < n_ends; i++) {
        break_off(f, ends[i].lead, known_at);
        flat = flat && (ends[i].reason == ECGMOE_LEAD_FLAT || ends[i].reason == ECGMOE_LEAD_RAIL);
    }
    /* A flatline is reported after a second, and its signal has ended with its first sample. */
    f->signal_end = at - (flat ? f->tables->front_end.flat : 0);
    report_found(f, false);
    for (int i = 0; i < n_ends; i++)
        ecgmoe_detector_end_lead(&f->detector, ends[i].lead, known_at, ends[i].reason);
    ecgmoe_detector_run(&f->detector, known_at - 1);
    f->signal_end = 0;
    bool present = false;
    for (int i = 0; i < n_ends; i++)
        ecgmoe_lead_signal_end(&f->leads[ends[i].lead]);
    for (int k = 0; k < f->n_leads; k++)
        if (has(begins, k)) {
            ecgmoe_lead_signal_begin(&f->leads[k], at);
            ecgmoe_detector_begin_lead(&f->detector, k, at);
        }
    ecgmoe_detector_run(&f->detector, at);
    f->chain_start = f->detector.began;
    for (int k = 0; k < f->n_leads; k++)
        present = present || f->leads[k].present;
    if (!f->silence.running && present)
        ecgmoe_silence_start(&f->silence, f->chain_start);
}

static void put_flatline(ecgmoe_front_end *f, int lead, const ecgmoe_flatline_report *report, int64_t known_at,
                         ecgmoe_item_order order) {
    ecgmoe_event event;
    event.sample = report->sample;
    if (report->report == ECGMOE_REPORT_FLATLINE) {
        event.kind = ECGMOE_EVENT_FLATLINE;
        event.of.flatline.samples = report->samples;
        event.of.flatline.kind = report->kind;
        event.of.flatline.lead = named(f, lead);
    } else {
        event.kind = ECGMOE_EVENT_CLIPPING;
        event.of.clipping.duration = report->samples;
        event.of.clipping.samples = (int32_t)report->samples;
        event.of.clipping.lead = named(f, lead);
    }
    ecgmoe_queue_put_event(&f->queue, known_at, order, &event);
}

/* Set which leads are usable from sample `at` on. */
static void change_usable(ecgmoe_front_end *f, const ecgmoe_piece *piece, int64_t at) {
    ecgmoe_flatline_report left[ECGMOE_MAX_LEADS][ECGMOE_MOST_FLATLINE_REPORTS];
    int n_left[ECGMOE_MAX_LEADS];
    ecgmoe_ending ends[ECGMOE_MAX_LEADS];
    int n_ends = 0;
    uint8_t begins = (uint8_t)(piece->usable & ~f->usable), ending = (uint8_t)(f->usable & ~piece->usable);
    f->usable = piece->usable;
    for (int k = 0; k < f->n_leads; k++) {
        if (!has(ending, k))
            continue;
        ends[n_ends].lead = (int8_t)k;
        ends[n_ends].reason = has(f->off, k)                   ? ECGMOE_LEAD_OFF
                              : has(piece->out_of_range, k) ? ECGMOE_LEAD_RANGE
                                                            : ECGMOE_LEAD_NAN;
        n_left[n_ends] = ecgmoe_lead_signal_end_flatline(&f->leads[k], at, left[n_ends]);
        n_ends++;
    }
    change_leads(f, ends, 0, begins, at, at + 1);
    change_leads(f, ends, n_ends, 0, at, at + 1);
    for (int i = 0; i < n_ends; i++)
        for (int j = 0; j < n_left[i]; j++)
            put_flatline(f, ends[i].lead, &left[i][j], at + 1, ECGMOE_ORDER_LAST);
}

/* -- samples */

/* Report the spikes that begin and the bridged holes that end with the present sample. */
static void note_spikes_and_holes(ecgmoe_front_end *f, uint8_t usable) {
    ecgmoe_spike spike;
    ecgmoe_hole hole;
    ecgmoe_event event;
    while (ecgmoe_intake_next_spike(&f->intake, &spike)) {
        if (!has(usable, spike.lead))
            continue;
        ecgmoe_lead_signal_spike(&f->leads[spike.lead], spike.sample, spike.width);
        event.kind = ECGMOE_EVENT_PACING_SPIKE;
        event.sample = spike.sample;
        event.of.pacing_spike.amplitude_mv = spike.amplitude_mv;
        event.of.pacing_spike.width = spike.width;
        event.of.pacing_spike.lead = named(f, spike.lead);
        ecgmoe_queue_put_event(&f->queue, spike.sample + 1, ECGMOE_ORDER_SPIKE, &event);
    }
    while (ecgmoe_intake_passed_hole(&f->intake, &hole)) {
        bool in_all = true;
        for (int k = 0; k < f->n_leads; k++)
            in_all = in_all && (has(f->off, k) || has(hole.leads, k));
        event.kind = ECGMOE_EVENT_GAP;
        event.sample = hole.start;
        event.of.gap.lost = hole.stop - hole.start;
        event.of.gap.reason = hole.reason;
        event.of.gap.at_least = false;
        event.of.gap.bridged = true;
        for (int k = 0; k < f->n_leads; k++) {
            if (in_all && k > 0)
                break;
            if (!in_all && !has(hole.leads, k))
                continue;
            event.of.gap.lead = in_all ? ECGMOE_ABSENT : named(f, k);
            ecgmoe_queue_put_event(&f->queue, hole.stop + 1, ECGMOE_ORDER_FIRST, &event);
        }
    }
}

static void report_unusable(ecgmoe_front_end *f, int64_t stop, int64_t known_at) {
    ecgmoe_event event;
    if (ecgmoe_unusable_report(&f->unusable, stop, &event))
        ecgmoe_queue_put_event(&f->queue, known_at, ECGMOE_ORDER_FIRST, &event);
}

/* Detect beats in a sample in which no signal begins or ends. */
static void detect(ecgmoe_front_end *f, const ecgmoe_piece *piece) {
    for (int k = 0; k < f->n_leads; k++) {
        ecgmoe_lead_signal *lead = &f->leads[k];
        ecgmoe_mains_report report;
        if (!lead->present)
            continue;
        ecgmoe_lead_signal_push(lead, piece->x[k]);
        collect_found(f, k);
        while (ecgmoe_lead_signal_next_mains(lead, &report)) {
            ecgmoe_event event;
            event.kind = ECGMOE_EVENT_MAINS;
            event.sample = report.sample;
            event.of.mains = report.mains;
            event.of.mains.lead = named(f, k);
            ecgmoe_queue_put_event(&f->queue, report.known_at, ECGMOE_ORDER_FIRST, &event);
        }
    }
    f->position = piece->sample + 1;
    if (f->found.count)
        report_found(f, f->n_leads > 1);
    ecgmoe_detector_run(&f->detector, f->position);
    complete_before(f, f->position + 1);
}

/* Detect flatline, clipping and beats in a sample that is usable in some lead. */
static void process_usable(ecgmoe_front_end *f, const ecgmoe_piece *piece) {
    ecgmoe_ending ends[ECGMOE_MAX_LEADS];
    ecgmoe_flatline_report reports[ECGMOE_MOST_FLATLINE_REPORTS];
    int n_ends = 0;
    uint8_t begins = 0;
    int64_t at = f->position;
    for (int k = 0; k < f->n_leads; k++) {
        if (!has(piece->usable, k))
            continue;
        int n = ecgmoe_lead_signal_detect_flatline(&f->leads[k], piece->x[k], at, reports);
        for (int i = 0; i < n; i++) {
            bool is_end = reports[i].signal_end >= 0;
            if (is_end) {
                ends[n_ends].lead = (int8_t)k;
                ends[n_ends++].reason = reports[i].kind == ECGMOE_FLATLINE_RAIL ? ECGMOE_LEAD_RAIL : ECGMOE_LEAD_FLAT;
            } else if (reports[i].signal_begin >= 0) {
                begins = (uint8_t)(begins | 1u << k);
            }
            put_flatline(f, k, &reports[i], reports[i].known_at, is_end ? ECGMOE_ORDER_LAST : ECGMOE_ORDER_FIRST);
        }
    }
    /* A signal begins before this sample, which is the first that differs; it ends after it, which completes a second. */
    if (begins)
        change_leads(f, ends, 0, begins, at, at);
    detect(f, piece);
    if (n_ends)
        change_leads(f, ends, n_ends, 0, at + 1, at + 1);
}

static void process_sample(ecgmoe_front_end *f, const ecgmoe_piece *piece) {
    int64_t at = f->position;
    note_spikes_and_holes(f, piece->usable);
    if (f->unusable.samples && piece->usable)
        report_unusable(f, at, at + 1);
    if (piece->usable != f->usable)
        change_usable(f, piece, at);
    if (piece->usable) {
        process_usable(f, piece);
    } else {
        ecgmoe_event event;
        ecgmoe_gap_reason reason = piece->out_of_range ? ECGMOE_GAP_RANGE : ECGMOE_GAP_NAN;
        if (piece->lost_by != ECGMOE_ARRIVED)
            reason = (ecgmoe_gap_reason)piece->lost_by;
        if (ecgmoe_unusable_count(&f->unusable, reason, at, &event))
            ecgmoe_queue_put_event(&f->queue, at + 1, ECGMOE_ORDER_FIRST, &event);
    }
    f->position = at + 1;
    complete_before(f, at + 2);
    add_silence(f, at + 1);
    if (f->queue.count > 1)
        ecgmoe_queue_sort(&f->queue);
}

/* -- the end of the signal */

static void reset_status(ecgmoe_front_end *f) {
    int8_t order[ECGMOE_MAX_LEADS];
    memset(&f->reported, 0, sizeof f->reported);
    for (int k = 0; k < f->n_leads; k++)
        order[k] = f->reported.clear[k] = (int8_t)k;
    f->reported.n_clear = f->n_leads;
    ecgmoe_beat_builder_use(&f->builder, order, f->n_leads, 0);
    f->no_ecg = 0;
}

/* Begin a new signal on all leads at sample `at`. */
static void restart(ecgmoe_front_end *f, int64_t at) {
    f->position = at;
    ecgmoe_intake_restart(&f->intake, at);
    f->usable = 0;
    ecgmoe_detector_restart(&f->detector);
    for (int k = 0; k < f->n_leads; k++)
        ecgmoe_lead_signal_restart(&f->leads[k], at);
    f->last_r = -1;
    reset_status(f);
}

/* Queue what remains when the signal ends; it is restarted once that is taken. */
static void end_all(ecgmoe_front_end *f) {
    int64_t arrived = f->position;
    report_unusable(f, arrived, arrived);
    for (int k = 0; k < f->n_leads; k++)
        break_off(f, k, arrived);
    f->quiet = true;
    report_found(f, false);
    ecgmoe_detector_run(&f->detector, arrived);
    ecgmoe_detector_flush(&f->detector, arrived);
    f->quiet = false;
    complete_all(f, arrived);
    end_signal(f, arrived, arrived, false);
    for (int k = 0; k < f->n_leads; k++) {
        ecgmoe_flatline_report left[ECGMOE_MOST_FLATLINE_REPORTS];
        int n = ecgmoe_lead_signal_end_flatline(&f->leads[k], arrived, left);
        for (int i = 0; i < n; i++)
            put_flatline(f, k, &left[i], arrived, ECGMOE_ORDER_LAST);
    }
}

/* Do what is due once all samples so far are processed and their items taken. */
static void run_task(ecgmoe_front_end *f) {
    ecgmoe_task task = f->task;
    f->task = ECGMOE_TASK_NONE;
    if (task == ECGMOE_TASK_LEAD_OFF) {
        f->off = f->off_next;
    } else if (task == ECGMOE_TASK_END) {
        end_all(f);
        f->task = ECGMOE_TASK_RESTART;
    } else if (task == ECGMOE_TASK_RESTART) {
        int64_t at = f->position;
        restart(f, at + (f->has_gap ? ecgmoe_max_i64(f->gap.lost, 0) : 0));
        if (f->has_gap) {
            ecgmoe_event event;
            event.kind = ECGMOE_EVENT_GAP;
            event.sample = at;
            event.of.gap = f->gap;
            ecgmoe_queue_put_event(&f->queue, at, ECGMOE_ORDER_LAST, &event);
        }
        f->has_gap = false;
    }
}

/* -- what the caller does */

void ecgmoe_front_end_init(ecgmoe_front_end *f, const ecgmoe_tables *tables, int n_leads, bool peaks_only) {
    memset(f, 0, sizeof *f);
    ecgmoe_detector_sink sink = {take_output, f};
    f->tables = tables;
    f->n_leads = (int8_t)n_leads;
    for (int k = 0; k < n_leads; k++)
        ecgmoe_lead_signal_init(&f->leads[k], &tables->signal.lead, &tables->candidates);
    ecgmoe_intake_init(&f->intake, &tables->signal.intake, n_leads);
    ecgmoe_detector_init(&f->detector, &tables->detector, n_leads, sink);
    ecgmoe_beat_builder_init(&f->builder, &tables->builder, &tables->rr, &tables->lead_history, n_leads, peaks_only);
    ecgmoe_silence_init(&f->silence, &tables->silence);
    ecgmoe_unusable_init(&f->unusable, &tables->unusable);
    f->last_r = -1;
    reset_status(f);
}

int64_t ecgmoe_front_end_position(const ecgmoe_front_end *f) {
    return f->position + ecgmoe_intake_waiting(&f->intake);
}

/* Tell the leads of holes that were bridged, before the samples in them are processed. */
static void note_bridges(ecgmoe_front_end *f) {
    ecgmoe_hole hole;
    while (ecgmoe_intake_new_hole(&f->intake, &hole))
        for (int k = 0; k < f->n_leads; k++)
            if (has(hole.leads, k))
                ecgmoe_lead_signal_bridge(&f->leads[k], hole.start, hole.stop);
}

void ecgmoe_front_end_push(ecgmoe_front_end *f, const ecgmoe_real *sample) {
    ecgmoe_intake_push(&f->intake, sample, f->off);
    note_bridges(f);
}

void ecgmoe_front_end_gap(ecgmoe_front_end *f, int64_t lost, ecgmoe_gap_reason reason, bool at_least) {
    bool runs = f->usable || f->unusable.samples || ecgmoe_intake_waiting(&f->intake) > 0;
    f->gap.lost = lost;
    f->gap.reason = reason;
    f->gap.at_least = at_least;
    f->gap.bridged = false;
    f->gap.lead = ECGMOE_ABSENT;
    if (runs && lost > 0 && !at_least && ecgmoe_intake_may_bridge(&f->intake, lost, reason)) {
        f->lost_left = (int32_t)lost;
        return;
    }
    f->has_gap = true;
    ecgmoe_front_end_flush(f);
}

void ecgmoe_front_end_lead_off(ecgmoe_front_end *f, uint8_t mask) {
    ecgmoe_intake_finish(&f->intake);
    note_bridges(f);
    f->off_next = mask;
    f->task = ECGMOE_TASK_LEAD_OFF;
}

void ecgmoe_front_end_flush(ecgmoe_front_end *f) {
    ecgmoe_intake_finish(&f->intake);
    note_bridges(f);
    f->task = ECGMOE_TASK_END;
}

/* Take the next entry of the queue. */
static void take_entry(ecgmoe_front_end *f, ecgmoe_item *item, ecgmoe_beat *beat) {
    const ecgmoe_item *other;
    const ecgmoe_complete_beat *complete;
    ecgmoe_queue_take(&f->queue, &other, &complete);
    if (other) {
        *item = *other;
        return;
    }
    ecgmoe_beat_builder_finish(&f->builder, f->leads, complete, beat);
    /* Later if samples had to wait for the end of a hole or of a possible spike. */
    beat->ready_at = ecgmoe_intake_known_at(&f->intake, beat->ready_at);
    item->kind = ECGMOE_ITEM_BEAT;
    item->known_at = beat->ready_at;
}

bool ecgmoe_front_end_next(ecgmoe_front_end *f, ecgmoe_item *item, ecgmoe_beat *beat) {
    for (;;) {
        ecgmoe_piece piece;
        if (!ecgmoe_queue_is_empty(&f->queue)) {
            take_entry(f, item, beat);
            return true;
        }
        ecgmoe_queue_clear(&f->queue);
        if (ecgmoe_intake_next(&f->intake, &piece)) {
            process_sample(f, &piece);
        } else if (f->lost_left > 0) {
            ecgmoe_intake_push_lost(&f->intake, f->gap.reason, f->lost_left == (int32_t)f->gap.lost, f->off);
            f->lost_left--;
            note_bridges(f);
        } else if (f->task != ECGMOE_TASK_NONE) {
            run_task(f);
        } else {
            return false;
        }
    }
}

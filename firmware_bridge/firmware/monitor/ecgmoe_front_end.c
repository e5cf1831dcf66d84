#include "ecgmoe_front_end_parts.h"

#include <string.h>

/* A lead whose signal ends, and why. */
typedef struct {
    int8_t lead;
    ecgmoe_lead_reason reason;
} ecgmoe_ending;

/* -- leads whose signal begins or ends */

/* End the signal of some leads before sample `at`, and begin that of other leads (a mask) at it. */
static void change_leads(ecgmoe_front_end *f, const ecgmoe_ending *ends, int n_ends, uint8_t begins, int64_t at,
                         int64_t known_at) {
    bool flat = true;
    for (int i = 0; i < n_ends; i++) {
        ecgmoe_front_end_break_off(f, ends[i].lead, known_at);
        flat = flat && (ends[i].reason == ECGMOE_LEAD_FLAT || ends[i].reason == ECGMOE_LEAD_RAIL);
    }
    /* A flatline is reported after a second, and its signal has ended with its first sample. */
    f->signal_end = at - (flat ? f->tables->front_end.flat : 0);
    ecgmoe_front_end_report_found(f, false);
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
    if (!f->silence.running && present) {
        ecgmoe_silence_start(&f->silence, f->chain_start);
        f->silence_due = ecgmoe_silence_due(&f->silence);
    }
}

void ecgmoe_front_end_put_flatline(ecgmoe_front_end *f, int lead, const ecgmoe_flatline_report *report, int64_t known_at,
                                   ecgmoe_item_order order) {
    ecgmoe_queued_item *item;
    if (report->report == ECGMOE_REPORT_FLATLINE) {
        item = ecgmoe_queue_event(&f->queue, known_at, order, ECGMOE_EVENT_FLATLINE, report->sample);
        item->of.flatline.samples = report->samples;
        item->of.flatline.kind = report->kind;
        item->of.flatline.lead = named(f, lead);
    } else {
        item = ecgmoe_queue_event(&f->queue, known_at, order, ECGMOE_EVENT_CLIPPING, report->sample);
        item->of.clipping.duration = report->samples;
        item->of.clipping.samples = (int32_t)report->samples;
        item->of.clipping.lead = named(f, lead);
    }
}

/* Set which leads are usable from sample `at` on. */
static void change_usable(ecgmoe_front_end *f, const ecgmoe_piece *piece, int64_t at) {
    ecgmoe_flatline_report left[ECGMOE_MAX_LEADS][ECGMOE_MOST_FLATLINE_REPORTS];
    int n_left[ECGMOE_MAX_LEADS];
    ecgmoe_ending ends[ECGMOE_MAX_LEADS] = {{0, ECGMOE_LEAD_START}};
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
            ecgmoe_front_end_put_flatline(f, ends[i].lead, &left[i][j], at + 1, ECGMOE_ORDER_LAST);
}

/* -- samples */

/* Report the spikes that begin with the present sample. */
static void note_spikes(ecgmoe_front_end *f, uint8_t usable) {
    ecgmoe_spike spike;
    while (ecgmoe_intake_next_spike(&f->intake, &spike)) {
        if (!has(usable, spike.lead))
            continue;
        ecgmoe_lead_signal_spike(&f->leads[spike.lead], spike.sample, spike.width);
        ecgmoe_pacing_spike *event = &ecgmoe_queue_event(&f->queue, spike.sample + 1, ECGMOE_ORDER_SPIKE,
                                                         ECGMOE_EVENT_PACING_SPIKE, spike.sample)->of.pacing_spike;
        event->amplitude_mv = spike.amplitude_mv;
        event->width = spike.width;
        event->lead = named(f, spike.lead);
    }
}

static void report_hole(ecgmoe_front_end *f, const ecgmoe_hole *hole, int8_t lead) {
    ecgmoe_gap *gap = &ecgmoe_queue_event(&f->queue, hole->stop + 1, ECGMOE_ORDER_FIRST, ECGMOE_EVENT_GAP,
                                          hole->start)->of.gap;
    gap->lost = hole->stop - hole->start;
    gap->reason = hole->reason;
    gap->at_least = false;
    gap->bridged = true;
    gap->lead = lead;
}

/* Report the bridged holes that end with the present sample: one gap, or one for each lead if not all have a hole. */
static void note_holes(ecgmoe_front_end *f) {
    ecgmoe_hole hole;
    while (ecgmoe_intake_passed_hole(&f->intake, &hole)) {
        bool in_all = true;
        for (int k = 0; k < f->n_leads; k++)
            in_all = in_all && (has(f->off, k) || has(hole.leads, k));
        if (in_all)
            report_hole(f, &hole, ECGMOE_ABSENT);
        for (int k = 0; k < f->n_leads && !in_all; k++)
            if (has(hole.leads, k))
                report_hole(f, &hole, named(f, k));
    }
}

static void put_gap(ecgmoe_front_end *f, int64_t known_at, ecgmoe_item_order order, int64_t sample,
                    const ecgmoe_gap *gap) {
    ecgmoe_queue_event(&f->queue, known_at, order, ECGMOE_EVENT_GAP, sample)->of.gap = *gap;
}

static void report_unusable(ecgmoe_front_end *f, int64_t stop, int64_t known_at) {
    ecgmoe_event event;
    if (ecgmoe_unusable_report(&f->unusable, stop, &event))
        put_gap(f, known_at, ECGMOE_ORDER_FIRST, event.sample, &event.of.gap);
}

/* Detect beats in a sample in which no signal begins or ends. */
static void detect(ecgmoe_front_end *f, const ecgmoe_piece *piece) {
    for (int k = 0; k < f->n_leads; k++) {
        ecgmoe_lead_signal *lead = &f->leads[k];
        ecgmoe_mains_report report;
        if (!lead->present)
            continue;
        ecgmoe_lead_signal_push(lead, piece->x[k]);
        ecgmoe_front_end_collect_found(f, k);
        while (ecgmoe_lead_signal_next_mains(lead, &report)) {
            ecgmoe_mains *mains = &ecgmoe_queue_event(&f->queue, report.known_at, ECGMOE_ORDER_FIRST,
                                                      ECGMOE_EVENT_MAINS, report.sample)->of.mains;
            *mains = report.mains;
            mains->lead = named(f, k);
        }
    }
    decide_sample(f, piece->sample);
}

/* Detect flatline, clipping and beats in a sample that is usable in some lead. */
static void process_usable(ecgmoe_front_end *f, const ecgmoe_piece *piece) {
    ecgmoe_ending ends[ECGMOE_MAX_LEADS] = {{0, ECGMOE_LEAD_START}};
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
            ecgmoe_front_end_put_flatline(f, k, &reports[i], reports[i].known_at, is_end ? ECGMOE_ORDER_LAST : ECGMOE_ORDER_FIRST);
        }
    }
    /* A signal begins before this sample, which is the first that differs; it ends after it, which completes a second. */
    if (begins)
        change_leads(f, ends, 0, begins, at, at);
    detect(f, piece);
    if (n_ends)
        change_leads(f, ends, n_ends, 0, at + 1, at + 1);
}

static void process_piece(ecgmoe_front_end *f, const ecgmoe_piece *piece) {
    int64_t at = f->position;
    note_spikes(f, piece->usable);
    note_holes(f);
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
            put_gap(f, at + 1, ECGMOE_ORDER_FIRST, event.sample, &event.of.gap);
    }
    finish_sample(f, at);
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
        ecgmoe_front_end_break_off(f, k, arrived);
    f->quiet = true;
    ecgmoe_front_end_report_found(f, false);
    ecgmoe_detector_run(&f->detector, arrived);
    ecgmoe_detector_flush(&f->detector, arrived);
    f->quiet = false;
    ecgmoe_front_end_complete_all(f, arrived);
    ecgmoe_front_end_end_signal(f, arrived, arrived, false);
    for (int k = 0; k < f->n_leads; k++) {
        ecgmoe_flatline_report left[ECGMOE_MOST_FLATLINE_REPORTS];
        int n = ecgmoe_lead_signal_end_flatline(&f->leads[k], arrived, left);
        for (int i = 0; i < n; i++)
            ecgmoe_front_end_put_flatline(f, k, &left[i], arrived, ECGMOE_ORDER_LAST);
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
        if (f->has_gap)
            put_gap(f, at, ECGMOE_ORDER_LAST, at, &f->gap);
        f->has_gap = false;
    }
}

/* -- what the caller does */

void ecgmoe_front_end_init(ecgmoe_front_end *f, const ecgmoe_tables *tables, int n_leads, bool peaks_only) {
    memset(f, 0, sizeof *f);
    ecgmoe_detector_sink sink = {ecgmoe_front_end_take_output, f};
    f->tables = tables;
    f->n_leads = (int8_t)n_leads;
    for (int k = 0; k < n_leads; k++)
        ecgmoe_lead_signal_init(&f->leads[k], &tables->signal.lead, &tables->candidates);
    ecgmoe_intake_init(&f->intake, &tables->signal.intake, n_leads);
    ecgmoe_detector_init(&f->detector, &tables->detector, n_leads, sink);
    ecgmoe_beat_builder_init(&f->builder, &tables->builder, &tables->rr, &tables->lead_history, n_leads, peaks_only);
    ecgmoe_silence_init(&f->silence, &tables->silence);
    f->silence_due = ECGMOE_NEVER;
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
    ecgmoe_queue_take(&f->queue, item);
    if (item->kind != ECGMOE_ITEM_BEAT)
        return;
    ecgmoe_beat_builder_take(&f->builder, f->leads, beat);
    /* Later if samples had to wait for the end of a hole or of a possible spike. */
    beat->ready_at = item->known_at = ecgmoe_intake_known_at(&f->intake, beat->ready_at);
}

bool ecgmoe_front_end_next(ecgmoe_front_end *f, ecgmoe_item *item, ecgmoe_beat *beat) {
    for (;;) {
        ecgmoe_piece piece;
        if (f->queue.count) {
            if (!ecgmoe_queue_is_empty(&f->queue)) {
                take_entry(f, item, beat);
                return true;
            }
            ecgmoe_queue_clear(&f->queue);
        }
#if ECGMOE_AHEAD > 0
        if (f->ahead.next < f->ahead.count) {
            ecgmoe_front_end_process_ahead(f);
            continue;
        }
#endif
        if (ecgmoe_intake_next(&f->intake, &piece)) {
            process_piece(f, &piece);
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

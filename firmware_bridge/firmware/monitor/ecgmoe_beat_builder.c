#include "ecgmoe_beat_builder.h"

#include <string.h>

void ecgmoe_beat_builder_init(ecgmoe_beat_builder *b, const ecgmoe_beat_builder_constants *constants,
                              const ecgmoe_rr_history_constants *rr, const ecgmoe_lead_history_constants *history, int n_leads,
                              bool peaks_only) {
    memset(b, 0, sizeof *b);
    b->constants = constants;
    b->n_leads = (int8_t)n_leads;
    b->peaks_only = peaks_only;
    ecgmoe_rr_history_init(&b->rr_history, rr);
    b->n_order = (int8_t)n_leads;
    b->due = ECGMOE_NEVER;
    for (int k = 0; k < n_leads; k++) {
        ecgmoe_lead_history_init(&b->histories[k], history);
        b->order[k] = (int8_t)k;
    }
}

void ecgmoe_beat_builder_use(ecgmoe_beat_builder *b, const int8_t *order, int n, uint8_t no_ecg) {
    for (int k = 0; k < n; k++)
        b->order[k] = order[k];
    b->n_order = (int8_t)n;
    b->no_ecg = no_ecg;
}

/* The beat at a place after the first one of the ring. */
static ecgmoe_built_beat *beat_at(ecgmoe_beat_builder *b, int place) {
    return &b->beats[(b->first + place) % ECGMOE_BUILT_BEATS];
}

static int64_t ready_at(const ecgmoe_beat_builder *b, const ecgmoe_built_beat *beat) {
    int32_t after = beat->known_after > b->constants->after + 1 ? beat->known_after : b->constants->after + 1;
    return ecgmoe_max_i64(beat->sample + after, b->last_ready);
}

/* Note when the next beat is complete. */
static void set_due(ecgmoe_beat_builder *b) {
    b->due = b->n_waiting ? ready_at(b, beat_at(b, b->n_complete)) : ECGMOE_NEVER;
}

void ecgmoe_beat_builder_add(ecgmoe_beat_builder *b, const ecgmoe_rpeak *peak, int32_t rr, int64_t reported_at) {
    if (b->n_complete + b->n_waiting == ECGMOE_BUILT_BEATS) {
        b->dropped++;
        return;
    }
    ecgmoe_built_beat *beat = beat_at(b, b->n_complete + b->n_waiting++);
    memset(beat, 0, sizeof *beat);
    beat->sample = peak->sample;
    beat->known_after = (int32_t)(peak->known_at - peak->sample);
    beat->reported_after = (int32_t)(reported_at - peak->sample);
    beat->rr = rr;
    beat->recurrence = peak->recurrence;
    beat->search_back = peak->search_back;
    set_due(b);
}

/* Note the leads that show the whole window of a beat, each with its quality. */
static void find_views(const ecgmoe_beat_builder *b, ecgmoe_lead_signal *leads, ecgmoe_built_beat *beat) {
    float window[ECGMOE_GRID];
    for (int i = 0; i < b->n_order; i++) {
        int8_t k = b->order[i];
        ecgmoe_lead_signal *lead = &leads[k];
        if (!ecgmoe_lead_signal_shows(lead, beat->sample))
            continue;
        ecgmoe_lead_signal_window(lead, beat->sample, window);
        ecgmoe_real quality = ecgmoe_lead_signal_quality(lead, window, beat->sample);
        if (b->no_ecg >> k & 1)
            quality = b->constants->no_ecg_factor * quality;
        beat->lead[beat->n_views] = k;
        beat->quality[beat->n_views] = quality;
        if (ecgmoe_lead_signal_shows_no_qrs(lead))
            beat->no_qrs_in = (uint8_t)(beat->no_qrs_in | 1u << beat->n_views);
        beat->n_views++;
    }
}

const ecgmoe_built_beat *ecgmoe_beat_builder_complete(ecgmoe_beat_builder *b, ecgmoe_lead_signal *leads,
                                                      int64_t latest) {
    ecgmoe_built_beat *beat = beat_at(b, b->n_complete);
    b->last_ready = ecgmoe_min_i64(ready_at(b, beat), latest);
    beat->ready_after = (int32_t)(b->last_ready - beat->sample);
    b->n_complete++;
    b->n_waiting--;
    set_due(b);
    find_views(b, leads, beat);
    if (!beat->n_views)
        beat->known_after = (int32_t)ecgmoe_max_i64(leads[0].signal.stop - beat->sample, INT32_MIN);
    beat->no_qrs = beat->n_views > 0 && beat->no_qrs_in == (1u << beat->n_views) - 1u;
    return beat;
}

/* The first view that shows the beat well; if none does, the view that shows it best. */
static int preferred_view(const ecgmoe_beat_builder *b, const ecgmoe_built_beat *beat) {
    int best = 0;
    for (int i = 0; i < beat->n_views; i++) {
        if (beat->quality[i] >= b->constants->good)
            return i;
        if (beat->quality[i] > beat->quality[best])
            best = i;
    }
    return best;
}

/* Add the window, of samples before `stop`, and the patient history of lead `k` to the views of a beat. */
static void add_view(const ecgmoe_beat_builder *b, const ecgmoe_lead_signal *leads, int k, int64_t stop,
                     ecgmoe_beat *out) {
    ecgmoe_lead_view *view = &out->views[out->n_views++];
    view->lead = (int8_t)k;
    ecgmoe_window_read(&leads[k].constants->window, &leads[k].signal, out->sample, stop, view->beat[0]);
    ecgmoe_lead_history_template(&b->histories[k], view->beat[0], view->beat[1]);
    view->amplitude = ecgmoe_lead_history_amplitude(&b->histories[k], view->beat[0]);
}

/* Add a beat to the history of every lead that shows it, so that any of them can be the first at the next beat.
 * Returns whether its first view is remembered. */
static bool remember(ecgmoe_beat_builder *b, const ecgmoe_lead_signal *leads, const ecgmoe_built_beat *beat,
                     int first) {
    bool in_history = false;
    float window[ECGMOE_GRID];
    for (int i = 0; i < beat->n_views; i++) {
        int k = beat->lead[i];
        if (beat->no_qrs_in >> i & 1)
            continue;
        ecgmoe_lead_signal_window(&leads[k], beat->sample, window);
        bool remembered = ecgmoe_lead_history_remember(&b->histories[k], window, beat->quality[i]);
        in_history = in_history || (remembered && i == first);
    }
    return in_history;
}

void ecgmoe_beat_builder_take(ecgmoe_beat_builder *b, const ecgmoe_lead_signal *leads, ecgmoe_beat *out) {
    const ecgmoe_built_beat *beat = beat_at(b, 0);
    int first = preferred_view(b, beat);
    b->first = (uint8_t)((b->first + 1) % ECGMOE_BUILT_BEATS);
    b->n_complete--;
    out->sample = beat->sample;
    out->known_at = beat->sample + beat->reported_after;
    out->ready_at = beat->sample + beat->ready_after;
    out->rr = beat->rr;
    out->quality = beat->n_views ? beat->quality[first] : 0;
    out->recurrence = beat->recurrence;
    out->lead = (int8_t)(b->n_leads > 1 && beat->n_views ? beat->lead[first] : ECGMOE_ABSENT);
    out->n_views = 0;
    out->search_back = beat->search_back;
    out->complete = beat->n_views > 0;
    out->no_qrs = beat->no_qrs;
    out->in_history = true;
    out->has_inputs = false;
    if (b->peaks_only)
        return;
    if (beat->n_views)
        add_view(b, leads, beat->lead[first], ECGMOE_NEVER, out);
    else
        add_view(b, leads, 0, beat->sample + beat->known_after, out);
    for (int i = 0; i < beat->n_views && out->n_views < ECGMOE_MOST_VIEWS; i++)
        if (i != first && beat->quality[i] >= b->constants->good)
            add_view(b, leads, beat->lead[i], ECGMOE_NEVER, out);
    bool poor = !out->complete || out->no_qrs || out->quality < b->constants->poor;
    ecgmoe_rr_history_add(&b->rr_history, out->rr, !(poor || b->was_poor), out->rr_features, out->rr_sequence);
    b->was_poor = poor;
    out->in_history = remember(b, leads, beat, first);
}

/* The later stages with simple arguments, for labels_in_c.py, which puts the statements of `fill` in. */
#include <string.h>
#include "ecgmoe_features.h"
#include "ecgmoe_labeller.h"
#include "ecgmoe_lead_history.h"
#include "ecgmoe_rr_history.h"
#include "ecgmoe_totals.h"
#include "ecgmoe_unusable.h"

typedef struct {
    ecgmoe_rr_history_constants rr;
    ecgmoe_lead_history_constants lead;
    ecgmoe_features_constants features;
    ecgmoe_labeller_constants labeller;
    ecgmoe_silence_constants silence;
    ecgmoe_unusable_constants unusable;
    ecgmoe_totals_constants totals;
} constants;
static constants tables;
static void fill(constants *t, const double *v) {
@FILL@}

static ecgmoe_rr_history rr;
static ecgmoe_lead_history lead;
static ecgmoe_shape_memory shapes;
static ecgmoe_labeller labeller;
static ecgmoe_own_layer layer;
static ecgmoe_real layer_weights[ECGMOE_MAX_LEADS][ECGMOE_LAYER_INPUTS * ECGMOE_LAYER_CLASSES];
static ecgmoe_silence_clock silence;
static ecgmoe_unusable_run unusable;
static ecgmoe_totals totals;

void init(const double *v) {
    fill(&tables, v);
    ecgmoe_rr_history_init(&rr, &tables.rr);
    ecgmoe_lead_history_init(&lead, &tables.lead);
    ecgmoe_labeller_init(&labeller, &tables.labeller);
    ecgmoe_silence_init(&silence, &tables.silence);
    ecgmoe_unusable_init(&unusable, &tables.unusable);
    ecgmoe_totals_init(&totals, &tables.totals, &tables.labeller.tasks);
    memset(&layer, 0, sizeof layer);
}

void rr_add(int samples, int remember, float *features, float *sequence) {
    float both[2][ECGMOE_RR_SEQUENCE];
    ecgmoe_rr_history_add(&rr, samples, remember != 0, features, both);
    memcpy(sequence, both, sizeof both);
}
void lead_template(const float *window, float *out) { ecgmoe_lead_history_template(&lead, window, out); }
double lead_amplitude(const float *window) { return ecgmoe_lead_history_amplitude(&lead, window); }
int lead_remember(const float *window, double quality) { return ecgmoe_lead_history_remember(&lead, window, quality); }
void shapes_init(double correlation, double early_share) {
    ecgmoe_shapes_init(&shapes, &tables.labeller.decision.shapes, correlation, early_share);
}
double shapes_correction(const float *beat, double margin, double ratio) {
    return ecgmoe_shapes_correction(&shapes, beat, margin, ratio);
}
void model_inputs(float *beat, double amplitude, const float *rr_features, float *features) {
    ecgmoe_model_inputs(&tables.features, (float(*)[ECGMOE_GRID])beat, amplitude, rr_features, features);
}

void use_layer(int lead_index, const double *weights, int first_lead, double margin_share_s) {
    if (weights != NULL) {
        for (int i = 0; i < ECGMOE_LAYER_INPUTS * ECGMOE_LAYER_CLASSES; i++)
            layer_weights[lead_index][i] = weights[i];
        layer.weights[lead_index] = layer_weights[lead_index];
    }
    layer.first_lead = first_lead;
    layer.margin_share_s = margin_share_s;
    ecgmoe_labeller_use_layer(&labeller, &layer);
}
void set_layer_active(int active) { labeller.layer_active = active != 0; }

static void write_row(const ecgmoe_event *e, double *row) {
    memset(row, 0, 24 * sizeof row[0]);
    row[0] = e->kind;
    row[1] = e->sample;
    double *p = row + 2;
    if (e->kind == ECGMOE_EVENT_BEAT) {
        const ecgmoe_beat_event *b = &e->of.beat;
        double numbers[] = {b->known_at, b->ready_at, b->rr, b->quality, b->label, b->shared_label, b->reason, b->lead,
                            b->search_back, b->is_poor, b->has_scores};
        memcpy(p, numbers, sizeof numbers);
        for (int k = 0; k < ECGMOE_MOST_CLASSES; k++)
            p[11 + k] = b->scores[k];
        for (int k = 0; k < ECGMOE_PATHS; k++)
            p[16 + k] = b->has_scores ? b->experts[k] : -1;
    } else if (e->kind == ECGMOE_EVENT_RHYTHM) {
        const ecgmoe_rhythm *r = &e->of.rhythm;
        double numbers[] = {r->from_s, r->ended ? r->to_s : 0, r->kind, r->rhythm, r->ended};
        memcpy(p, numbers, sizeof numbers);
    } else if (e->kind == ECGMOE_EVENT_MODEL_FAULT) {
        *p++ = e->of.model_fault.beats;
        *p++ = e->of.model_fault.n_outputs;
        for (int k = 0; k < e->of.model_fault.n_outputs; k++)
            *p++ = e->of.model_fault.outputs[k];
    } else if (e->kind == ECGMOE_EVENT_GAP) {
        const ecgmoe_gap *g = &e->of.gap;
        double numbers[] = {g->lost, g->reason, g->at_least, g->bridged, g->lead};
        memcpy(p, numbers, sizeof numbers);
    }
}

static int finish(const ecgmoe_event *events, int n, double *rows) {
    for (int k = 0; k < n; k++) {
        ecgmoe_totals_count(&totals, &events[k]);
        write_row(&events[k], rows + 24 * k);
    }
    return n;
}

int take_beat(const int64_t *whole, double quality, double recurrence, const float *rr_features, const float *inputs,
              const float **outputs, double *rows) {
    static ecgmoe_beat beat;
    memset(&beat, 0, sizeof beat);
    beat.sample = whole[0];
    beat.known_at = whole[1];
    beat.ready_at = whole[2];
    beat.rr = whole[3];
    beat.lead = whole[4];
    beat.n_views = whole[5];
    beat.search_back = whole[6];
    beat.complete = whole[7];
    beat.no_qrs = whole[8];
    beat.quality = quality;
    beat.recurrence = recurrence;
    if (rr_features != NULL)
        memcpy(beat.rr_features, rr_features, sizeof beat.rr_features);
    beat.has_inputs = inputs != NULL;
    for (int k = 0; k < beat.n_views && inputs != NULL; k++) {
        beat.views[k].lead = whole[9 + k];
        memcpy(beat.views[k].beat, inputs, sizeof beat.views[k].beat);
        inputs += 2 * ECGMOE_GRID;
        memcpy(beat.views[k].features, inputs, sizeof beat.views[k].features);
        inputs += ECGMOE_FEATURES;
    }
    ecgmoe_item item = {.kind = ECGMOE_ITEM_BEAT, .known_at = beat.ready_at};
    ecgmoe_answer answer;
    for (int k = 0; k < tables.labeller.tasks.n_outputs && outputs != NULL; k++)
        answer.outputs[k] = outputs[k];
    ecgmoe_event events[ECGMOE_MOST_ITEM_EVENTS];
    int n = ecgmoe_labeller_take(&labeller, &item, &beat, outputs == NULL ? NULL : &answer, events);
    return finish(events, n, rows);
}

int take_silence(int64_t since, double seconds, int after_beat, double *rows) {
    ecgmoe_item item = {.kind = ECGMOE_ITEM_SILENCE,
                        .of.silence = {.since = since, .seconds = seconds, .after_beat = after_beat != 0}};
    ecgmoe_event events[ECGMOE_MOST_ITEM_EVENTS];
    return finish(events, ecgmoe_labeller_take(&labeller, &item, NULL, NULL, events), rows);
}

int take_signal_end(int64_t sample, int lead_lost, double *rows) {
    ecgmoe_item item = {.kind = ECGMOE_ITEM_SIGNAL_END,
                        .of.signal_end = {.sample = sample, .lead_lost = lead_lost != 0}};
    ecgmoe_event events[ECGMOE_MOST_ITEM_EVENTS];
    return finish(events, ecgmoe_labeller_take(&labeller, &item, NULL, NULL, events), rows);
}

int take_gap(int64_t sample, int64_t lost, int reason, int at_least, int bridged, int lead_index, double *rows) {
    ecgmoe_item item = {.kind = ECGMOE_ITEM_EVENT, .of.event = {.kind = ECGMOE_EVENT_GAP, .sample = sample}};
    ecgmoe_gap gap = {lost, (ecgmoe_gap_reason)reason, at_least != 0, bridged != 0, lead_index};
    item.of.event.of.gap = gap;
    ecgmoe_event events[ECGMOE_MOST_ITEM_EVENTS];
    return finish(events, ecgmoe_labeller_take(&labeller, &item, NULL, NULL, events), rows);
}

int labeller_flush(double *rows) {
    ecgmoe_event event;
    return finish(&event, ecgmoe_labeller_flush(&labeller, &event), rows);
}

void silence_start(int64_t at) { ecgmoe_silence_start(&silence, at); }
void silence_stop(void) { ecgmoe_silence_stop(&silence); }
void silence_peak(int64_t r) { ecgmoe_silence_peak(&silence, r); }
void silence_beat(int64_t r, int64_t ready_at, int is_beat, int begins_rr) {
    ecgmoe_silence_beat(&silence, r, ready_at, is_beat != 0, begins_rr != 0);
}
int64_t silence_due(void) { return ecgmoe_silence_due(&silence); }
int silence_run(int64_t arrived, double *rows) {
    ecgmoe_silence out[ECGMOE_SILENCE_LIMITS];
    int n = ecgmoe_silence_run(&silence, arrived, out);
    for (int k = 0; k < n; k++) {
        rows[4 * k] = out[k].known_at;
        rows[4 * k + 1] = out[k].since;
        rows[4 * k + 2] = out[k].seconds;
        rows[4 * k + 3] = out[k].after_beat;
    }
    return n;
}

int unusable_count(int reason, int64_t at, double *row) {
    ecgmoe_event event;
    if (!ecgmoe_unusable_count(&unusable, (ecgmoe_gap_reason)reason, at, &event))
        return 0;
    write_row(&event, row);
    return 1;
}
int unusable_report(int64_t stop, double *row) {
    ecgmoe_event event;
    if (!ecgmoe_unusable_report(&unusable, stop, &event))
        return 0;
    write_row(&event, row);
    return 1;
}

void totals_receive(int64_t samples) { totals.received += samples; }
void totals_lose(int64_t samples, int reason) { ecgmoe_totals_lose(&totals, samples, (ecgmoe_gap_reason)reason); }
void totals_read(double *out) {
    double numbers[] = {totals.received, totals.lost, totals.unusable, totals.gaps, totals.bridged, totals.poor,
                        totals.unclassified, totals.artefacts, totals.relabelled, ecgmoe_totals_heart_rate(&totals),
                        totals.af.af_s, totals.af.classified_s, totals.af.episodes, totals.af.longest_s,
                        ecgmoe_totals_delay(&totals, 0), ecgmoe_totals_delay(&totals, 1),
                        ecgmoe_totals_delay(&totals, 2)};
    memcpy(out, numbers, sizeof numbers);
    for (int k = 0; k < ECGMOE_MOST_CLASSES; k++)
        out[17 + k] = totals.beats[k];
}

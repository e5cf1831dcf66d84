#include "ecgmoe_labeller.h"

#include <string.h>

#include "ecgmoe_rr_history.h"

/* The label of one beat, and what led to it. */
typedef struct {
    const float *rhythm_logits; /* NULL if there are none */
    float rhythm[ECGMOE_MOST_CLASSES];
    ecgmoe_real logits[ECGMOE_MOST_CLASSES];
    ecgmoe_beat_reason reason;
    int8_t label, shared_label;
    bool is_poor, has_scores;
} labelled;

void ecgmoe_labeller_init(ecgmoe_labeller *labeller, const ecgmoe_labeller_constants *constants) {
    labeller->constants = constants;
    ecgmoe_decision_init(&labeller->decision, &constants->decision, &constants->rule, &constants->tasks);
    ecgmoe_tracker_init(&labeller->rhythm, &constants->rhythm, &constants->tasks);
    ecgmoe_model_faults_init(&labeller->faults, &constants->faults);
#if ECGMOE_PATIENT_LAYER
    labeller->layer = NULL;
    labeller->layer_active = false;
#endif
}

#if ECGMOE_PATIENT_LAYER
void ecgmoe_labeller_use_layer(ecgmoe_labeller *labeller, const ecgmoe_own_layer *layer) {
    const ecgmoe_labeller_constants *c = labeller->constants;
    ecgmoe_decision_rule rule = c->rule;
    if (!ecgmoe_is_none(layer->margin_share_s))
        rule.margin_share_s = layer->margin_share_s;
    ecgmoe_decision_init(&labeller->own_decision, &c->decision, &rule, &c->tasks);
    labeller->layer = layer;
    labeller->layer_active = true;
}
#endif

/* ------------------------------------------------------------------ one beat */

/* Why a beat is too poor for a label, whatever the model answers. */
static ecgmoe_beat_reason why_poor(const ecgmoe_beat *beat, ecgmoe_real poor_quality) {
    if (!beat->complete)
        return ECGMOE_BEAT_INCOMPLETE;
    if (beat->no_qrs)
        return ECGMOE_BEAT_NO_QRS;
    return beat->quality < poor_quality ? ECGMOE_BEAT_QUALITY : ECGMOE_BEAT_GOOD;
}

/* Write the mean rhythm logits of the views. */
static void mean_rhythm(const ecgmoe_model_tasks *t, const float *logits, int views, float *out) {
    for (int32_t i = 0; i < t->n_rhythms; i++) {
        float total = 0;
        for (int32_t k = 0; k < views; k++)
            total += logits[k * t->n_rhythms + i];
        out[i] = total / (float)views;
    }
}

/* Number of rows of the model's outputs. */
static int views_of(const ecgmoe_beat *beat) {
    return beat->n_views > 1 ? beat->n_views : 1;
}

#if ECGMOE_PATIENT_LAYER
/* The same with the patient's own layer, whose label counts if it is active. */
static void apply_own_layer(ecgmoe_labeller *l, const ecgmoe_beat *beat, const float *by_lead, bool early,
                            labelled *found) {
    const ecgmoe_labeller_constants *c = l->constants;
    float own[ECGMOE_MOST_VIEWS * ECGMOE_MOST_CLASSES], combined[ECGMOE_MOST_CLASSES];
    ecgmoe_real logits[ECGMOE_MOST_CLASSES];
    if (beat->has_inputs) {
        ecgmoe_own_layer_adapt(l->layer, &c->own_layer, &c->tasks, beat, by_lead, own);
        by_lead = own;
    }
    ecgmoe_combined_logits(&c->tasks, by_lead, views_of(beat), early, combined);
    const float *waveform = beat->has_inputs ? beat->views[0].beat[0] : NULL;
    bool good = found->reason == ECGMOE_BEAT_GOOD;
    ecgmoe_decision_apply(&l->own_decision, combined, beat->rr_features, waveform, found->rhythm_logits, good, logits);
    if (l->layer_active && good) {
        int8_t label = (int8_t)ecgmoe_decision_best_class(&l->own_decision, logits);
        found->shared_label = (int8_t)(label == found->label ? ECGMOE_ABSENT : found->label);
        found->label = label;
        memcpy(found->logits, logits, sizeof logits);
    }
}
#endif

/* Label a beat by outputs of the model that can be used. */
static void label_beat(ecgmoe_labeller *l, const ecgmoe_beat *beat, const ecgmoe_answer *answer, labelled *found) {
    const ecgmoe_labeller_constants *c = l->constants;
    const ecgmoe_model_tasks *t = &c->tasks;
    float combined[ECGMOE_MOST_CLASSES];
    const float *by_lead = answer->outputs[t->beat_output];
    if (t->rhythm_output >= 0 && t->n_rhythms > 0) {
        mean_rhythm(t, answer->outputs[t->rhythm_output], views_of(beat), found->rhythm);
        found->rhythm_logits = found->rhythm;
    }
    bool early = beat->rr_features[ECGMOE_RR_TO_MEAN_OF_8] < (float)c->decision.early;
    ecgmoe_combined_logits(t, by_lead, views_of(beat), early, combined);
    if (found->reason == ECGMOE_BEAT_GOOD && ecgmoe_decision_is_artefact(&l->decision, combined, beat->quality))
        found->reason = ECGMOE_BEAT_ARTEFACT;
    bool good = found->reason == ECGMOE_BEAT_GOOD;
    const float *waveform = beat->has_inputs ? beat->views[0].beat[0] : NULL;
    ecgmoe_decision_apply(&l->decision, combined, beat->rr_features, waveform, found->rhythm_logits, good,
                          found->logits);
    found->is_poor = !good;
    found->has_scores = true;
    if (good)
        found->label = (int8_t)ecgmoe_decision_best_class(&l->decision, found->logits);
#if ECGMOE_PATIENT_LAYER
    if (l->layer != NULL)
        apply_own_layer(l, beat, by_lead, early, found);
#endif
}

/* The softmax of the logits. */
static void probabilities(const ecgmoe_real *logits, int32_t n, ecgmoe_real *out) {
    ecgmoe_real top = logits[0], total = 0;
    for (int32_t i = 1; i < n; i++)
        top = ecgmoe_max(top, logits[i]);
    for (int32_t i = 0; i < n; i++) {
        out[i] = ecgmoe_exp(logits[i] - top);
        total += out[i];
    }
    for (int32_t i = 0; i < n; i++)
        out[i] /= total;
}

static void write_beat(const ecgmoe_labeller *l, const ecgmoe_beat *beat, const ecgmoe_answer *answer,
                       const labelled *found, ecgmoe_event *out) {
    const ecgmoe_model_tasks *t = &l->constants->tasks;
    out->kind = ECGMOE_EVENT_BEAT;
    out->sample = beat->sample;
    ecgmoe_beat_event *event = &out->of.beat;
    memset(event, 0, sizeof *event);
    event->known_at = beat->known_at;
    event->ready_at = beat->ready_at;
    event->rr = beat->rr;
    event->quality = beat->quality;
    event->label = found->label;
    event->shared_label = found->shared_label;
    event->reason = found->is_poor ? found->reason : ECGMOE_BEAT_GOOD;
    event->lead = beat->lead;
    event->search_back = beat->search_back;
    event->is_poor = found->is_poor;
    event->has_scores = found->has_scores;
    if (!found->has_scores)
        return;
    probabilities(found->logits, t->n_classes, event->scores);
    for (int32_t k = 0; k < ECGMOE_PATHS; k++) {
        int32_t route = t->routes[k];
        event->experts[k] = ECGMOE_ABSENT;
        if (route >= 0)
            event->experts[k] = (int8_t)ecgmoe_argmax_float(answer->outputs[route], t->width[route]);
    }
}

static void track(ecgmoe_labeller *l, const ecgmoe_beat *beat, const labelled *found, ecgmoe_rhythm_list *out) {
    double time_s = (double)beat->sample / l->constants->fs;
    if (found->reason == ECGMOE_BEAT_ARTEFACT) {
        ecgmoe_tracker_artefact(&l->rhythm, time_s, out);
        return;
    }
    ecgmoe_tracked_beat tracked = {
        .time_s = time_s,
        .rr_ms = beat->rr > 0 ? 1000.0 * ((double)beat->rr / l->constants->fs) : (double)NAN,
        .logits = found->rhythm_logits,
        .quality = beat->quality,
        .recurrence = beat->recurrence,
        .is_v = found->label >= 0 && found->label == l->constants->tasks.v,
        .poor = found->reason != ECGMOE_BEAT_GOOD,
        .no_qrs = beat->no_qrs,
    };
    ecgmoe_tracker_beat(&l->rhythm, &tracked, out);
}

static int write_rhythms(const ecgmoe_rhythm_list *list, ecgmoe_event *out) {
    for (int k = 0; k < list->count; k++) {
        out[k].kind = ECGMOE_EVENT_RHYTHM;
        out[k].sample = 0;
        out[k].of.rhythm = list->events[k];
    }
    return list->count;
}

static int take_beat(ecgmoe_labeller *l, const ecgmoe_beat *beat, const ecgmoe_answer *answer, ecgmoe_event *out) {
    labelled found = {.label = ECGMOE_ABSENT, .shared_label = ECGMOE_ABSENT};
    int8_t unusable[ECGMOE_MOST_OUTPUTS];
    int n_unusable = 0, count = 1;
    found.reason = why_poor(beat, l->constants->poor_quality);
    if (answer != NULL && l->constants->tasks.n_classes > 0) {
        n_unusable = ecgmoe_unusable_outputs(&l->constants->tasks, answer, views_of(beat), unusable);
        if (n_unusable == 0) {
            label_beat(l, beat, answer, &found);
        } else { /* neither the decision rules nor the rhythm learn from it */
            found.is_poor = true;
            found.reason = found.reason == ECGMOE_BEAT_GOOD ? ECGMOE_BEAT_MODEL : found.reason;
        }
    }
    write_beat(l, beat, answer, &found, &out[0]);
    if (n_unusable > 0)
        count += ecgmoe_model_faults_add(&l->faults, beat->sample, unusable, n_unusable, &out[count]);
    ecgmoe_rhythm_list list;
    track(l, beat, &found, &list);
    return count + write_rhythms(&list, out + count);
}

/* ------------------------------------------------------------------ items */

int ecgmoe_labeller_take(ecgmoe_labeller *labeller, const ecgmoe_item *item, const ecgmoe_beat *beat,
                         const ecgmoe_answer *answer, ecgmoe_event out[ECGMOE_MOST_ITEM_EVENTS]) {
    double fs = labeller->constants->fs;
    ecgmoe_rhythm_list list = {0};
    switch (item->kind) {
    case ECGMOE_ITEM_BEAT:
        return take_beat(labeller, beat, answer, out);
    case ECGMOE_ITEM_SILENCE: {
        const ecgmoe_silence *silence = &item->of.silence;
        double since_s = (double)silence->since / fs;
        ecgmoe_tracker_silence(&labeller->rhythm, since_s, silence->seconds, silence->after_beat, &list);
        break;
    }
    case ECGMOE_ITEM_SIGNAL_END: {
        const ecgmoe_signal_end *end = &item->of.signal_end;
        ecgmoe_tracker_interrupt(&labeller->rhythm, (double)end->sample / fs, end->lead_lost, &list);
        break;
    }
    case ECGMOE_ITEM_EVENT:
        out[0] = item->of.event;
        return 1;
    }
    return write_rhythms(&list, out);
}

int ecgmoe_labeller_flush(ecgmoe_labeller *labeller, ecgmoe_event *out) {
    return ecgmoe_model_faults_flush(&labeller->faults, out);
}

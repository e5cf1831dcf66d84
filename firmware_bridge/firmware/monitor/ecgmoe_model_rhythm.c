#include "ecgmoe_model_rhythm.h"

static void restart_rhythm(ecgmoe_model_rhythm *rhythm) {
    for (int32_t i = 0; i < ECGMOE_MOST_CLASSES; i++)
        rhythm->scores[i] = 0;
    rhythm->seen = rhythm->beats = 0;
    rhythm->leading = ECGMOE_ABSENT;
    rhythm->since_s = 0;
}

void ecgmoe_model_rhythm_init(ecgmoe_model_rhythm *rhythm, const ecgmoe_model_rhythm_constants *constants,
                              const ecgmoe_model_tasks *tasks) {
    rhythm->constants = constants;
    rhythm->tasks = tasks;
    ecgmoe_alarm_init(&rhythm->current, ECGMOE_RHYTHM_OF_MODEL, ECGMOE_ABSENT);
    ecgmoe_predictability_init(&rhythm->intervals, &constants->predictability);
    restart_rhythm(rhythm);
}

/* Add the probabilities of one beat to the mean scores. */
static void average(ecgmoe_model_rhythm *r, const float *logits) {
    ecgmoe_real odds[ECGMOE_MOST_CLASSES], total = 0;
    int32_t n = r->tasks->n_rhythms;
    float largest = logits[ecgmoe_argmax_float(logits, n)];
    for (int32_t i = 0; i < n; i++) {
        odds[i] = ecgmoe_exp((ecgmoe_real)logits[i] - (ecgmoe_real)largest);
        total += odds[i];
    }
    r->seen += r->seen < r->constants->score_memory;
    ecgmoe_real weight = 1 / (ecgmoe_real)r->seen;
    for (int32_t i = 0; i < n; i++)
        r->scores[i] += weight * (odds[i] / total - r->scores[i]);
}

/* The rhythm with the highest mean score, without the rhythm `left_out` (ECGMOE_ABSENT for none). */
static int32_t highest(const ecgmoe_model_rhythm *r, int32_t left_out) {
    int32_t best = left_out == 0 ? 1 : 0;
    for (int32_t i = best + 1; i < r->tasks->n_rhythms; i++)
        best = i != left_out && r->scores[i] > r->scores[best] ? i : best;
    return best;
}

/* Let `current` be the rhythm `label` from now on, and report it. */
static void change_to(ecgmoe_model_rhythm *r, int32_t label, ecgmoe_rhythm_list *out) {
    ecgmoe_alarm_end(&r->current, r->since_s, out);
    ecgmoe_alarm_init(&r->current, ECGMOE_RHYTHM_OF_MODEL, (int8_t)label);
    ecgmoe_alarm_begin(&r->current, r->since_s, out);
}

void ecgmoe_model_rhythm_beat(ecgmoe_model_rhythm *rhythm, double time_s, const float *logits, bool may_begin,
                              ecgmoe_rhythm_list *out) {
    const ecgmoe_model_tasks *tasks = rhythm->tasks;
    average(rhythm, logits);
    int32_t label = highest(rhythm, ECGMOE_ABSENT);
    bool is_af = label == tasks->af;
    bool too_early = is_af && rhythm->intervals.count < rhythm->constants->fewest_rr;
    if (is_af && !too_early && tasks->n_rhythms > 1 &&
        (ecgmoe_predictability_is_smooth(&rhythm->intervals) || ecgmoe_predictability_is_steady(&rhythm->intervals)))
        label = highest(rhythm, tasks->af);
    if (rhythm->leading != label) {
        rhythm->leading = (int8_t)label;
        rhythm->since_s = time_s;
        rhythm->beats = 0;
    }
    rhythm->beats += rhythm->beats < rhythm->constants->hold_beats;
    bool allowed = label == tasks->noisy || (may_begin && !too_early);
    bool is_new = !rhythm->current.lasts || rhythm->current.rhythm != label;
    if (allowed && is_new && rhythm->beats == rhythm->constants->hold_beats)
        change_to(rhythm, label, out);
}

void ecgmoe_model_rhythm_add_rr(ecgmoe_model_rhythm *rhythm, double rr_ms) {
    ecgmoe_predictability_add(&rhythm->intervals, (ecgmoe_real)rr_ms);
}

void ecgmoe_model_rhythm_end(ecgmoe_model_rhythm *rhythm, double at_s, ecgmoe_rhythm_list *out) {
    ecgmoe_alarm_end(&rhythm->current, at_s, out);
    restart_rhythm(rhythm);
}

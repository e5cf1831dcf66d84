#include "ecgmoe_decision.h"

#include <string.h>

#include "ecgmoe_rr_history.h"

ecgmoe_real ecgmoe_logaddexp(ecgmoe_real a, ecgmoe_real b) {
    ecgmoe_real larger = ecgmoe_max(a, b), smaller = ecgmoe_min(a, b);
    return larger + ecgmoe_log1p(ecgmoe_exp(smaller - larger));
}

ecgmoe_real ecgmoe_logsumexp(const ecgmoe_real *x, int n) {
    ecgmoe_real total = x[0];
    for (int i = 1; i < n; i++)
        total = ecgmoe_logaddexp(total, x[i]);
    return total;
}

static bool counts_rhythm(const ecgmoe_decision *d) {
    return !ecgmoe_is_none(d->rule.fibrillation_penalty) && d->tasks->af >= 0;
}

void ecgmoe_decision_init(ecgmoe_decision *decision, const ecgmoe_decision_constants *constants,
                          const ecgmoe_decision_rule *rule, const ecgmoe_model_tasks *tasks) {
    decision->constants = constants;
    decision->tasks = tasks;
    decision->rule = *rule;
    decision->fibrillation = 0;
    decision->margin_s = decision->margin_v = rule->usual_margin;
    decision->beats = 0;
    ecgmoe_shapes_init(&decision->shapes, &constants->shapes, rule->shape_correlation, rule->shape_early_share);
}

bool ecgmoe_decision_is_artefact(const ecgmoe_decision *decision, const float *logits, ecgmoe_real quality) {
    const ecgmoe_model_tasks *t = decision->tasks;
    int best = ecgmoe_argmax_float(logits, t->n_classes);
    if (best == t->artefact)
        return true;
    if (best != t->v || quality >= decision->rule.doubtful_quality)
        return false;
    ecgmoe_real others[ECGMOE_MOST_CLASSES];
    int n = 0;
    for (int i = 0; i < t->n_classes; i++)
        if (i != t->v && i != t->artefact)
            others[n++] = logits[i];
    return logits[t->v] - ecgmoe_logsumexp(others, n) < decision->rule.doubtful_margin;
}

int ecgmoe_decision_best_class(const ecgmoe_decision *decision, const ecgmoe_real *adjusted) {
    int best = decision->tasks->artefact == 0 ? 1 : 0;
    for (int i = best + 1; i < decision->tasks->n_classes; i++)
        best = i != decision->tasks->artefact && adjusted[i] > adjusted[best] ? i : best;
    return best;
}

/* Part of the running margin above the usual one, which is subtracted; the running margin learns the beat. */
static ecgmoe_real adapt(const ecgmoe_decision *d, ecgmoe_real *running, ecgmoe_real share, ecgmoe_real margin,
                         bool learn) {
    ecgmoe_real limit = d->constants->margin_limit;
    ecgmoe_real subtracted = share * ecgmoe_max(0, *running - d->rule.usual_margin);
    if (learn) {
        uint32_t most = (uint32_t)d->rule.memory_beats, beats = d->beats + (uint32_t)d->constants->beats_before;
        ecgmoe_real weight = 1 / (ecgmoe_real)(most < beats ? most : beats);
        margin = ecgmoe_min(ecgmoe_max(margin, -limit), limit);
        *running += weight * (margin - *running);
    }
    return subtracted;
}

static void learn_fibrillation(ecgmoe_decision *d, const float *rhythm) {
    ecgmoe_real logits[ECGMOE_MOST_CLASSES];
    for (int32_t i = 0; i < d->tasks->n_rhythms; i++)
        logits[i] = (ecgmoe_real)rhythm[i];
    ecgmoe_real probability = ecgmoe_exp(logits[d->tasks->af] - ecgmoe_logsumexp(logits, d->tasks->n_rhythms));
    uint32_t most = (uint32_t)d->rule.fibrillation_beats, beats = d->beats + 1;
    d->fibrillation += (probability - d->fibrillation) / (ecgmoe_real)(beats < most ? beats : most);
}

/* Move the logit of V towards the margin of its shape. */
static void apply_shapes(ecgmoe_decision *d, const float *beat, const float *rr_features, bool irregular,
                         ecgmoe_real *own) {
    const ecgmoe_model_tasks *t = d->tasks;
    bool fibrillates = counts_rhythm(d) ? d->fibrillation >= d->rule.fibrillation_limit : irregular;
    ecgmoe_real others = ecgmoe_logaddexp(own[t->normal], own[t->s]);
    ecgmoe_real ratio = fibrillates ? ECGMOE_NONE_REAL : (ecgmoe_real)rr_features[ECGMOE_RR_TO_MEAN_OF_8];
    own[t->v] += d->rule.shape_share * ecgmoe_shapes_correction(&d->shapes, beat, own[t->v] - others, ratio);
}

void ecgmoe_decision_apply(ecgmoe_decision *decision, const float *logits, const float *rr_features, const float *beat,
                           const float *rhythm, bool learn, ecgmoe_real adjusted[ECGMOE_MOST_CLASSES]) {
    const ecgmoe_decision_rule *rule = &decision->rule;
    const ecgmoe_model_tasks *t = decision->tasks;
    bool irregular = rr_features[ECGMOE_RR_IRREGULAR_SHARE] > (float)rule->irregular_share;
    for (int32_t i = 0; i < t->n_classes; i++)
        adjusted[i] = (ecgmoe_real)logits[i];
    if (beat != NULL && learn && rule->shape_share > 0)
        apply_shapes(decision, beat, rr_features, irregular, adjusted);
    ecgmoe_real margin_s = adjusted[t->s] - adjusted[t->normal], margin_v = adjusted[t->v] - adjusted[t->normal];
    adjusted[t->s] -= adapt(decision, &decision->margin_s, rule->margin_share_s, margin_s, learn);
    adjusted[t->v] -= adapt(decision, &decision->margin_v, rule->margin_share_v, margin_v, learn);
    ecgmoe_real penalty = rule->irregular_penalty;
    bool applies = irregular;
    if (rhythm != NULL && counts_rhythm(decision)) {
        if (learn)
            learn_fibrillation(decision, rhythm);
        /* Squared, so that a low probability counts little. */
        penalty = rule->fibrillation_penalty * (decision->fibrillation * decision->fibrillation);
        applies = irregular || !rule->fibrillation_irregular;
    }
    if (applies)
        adjusted[t->s] -= penalty;
    decision->beats += learn;
}

/* ------------------------------------------------------------------ several leads */

/* Sums over the leads, and what counts from one lead. */
typedef struct {
    ecgmoe_real sum[ECGMOE_MOST_CLASSES];
    ecgmoe_real first_margin, largest_margin; /* of V over N and S */
    ecgmoe_real least_artefact;               /* margin of the artefact over the best class */
} lead_sums;

/* Largest logit of a beat class. */
static ecgmoe_real best_beat(const ecgmoe_model_tasks *t, const ecgmoe_real *x) {
    ecgmoe_real best = -ECGMOE_INFINITY;
    for (int32_t i = 0; i < t->n_classes; i++)
        best = i != t->artefact && x[i] > best ? x[i] : best;
    return best;
}

static void add_lead(const ecgmoe_model_tasks *t, const float *logits, lead_sums *sums) {
    ecgmoe_real x[ECGMOE_MOST_CLASSES];
    for (int32_t i = 0; i < t->n_classes; i++)
        x[i] = (ecgmoe_real)logits[i];
    ecgmoe_real total = ecgmoe_logsumexp(x, t->n_classes);
    for (int32_t i = 0; i < t->n_classes; i++) {
        x[i] -= total;
        sums->sum[i] += x[i];
    }
    ecgmoe_real margin = x[t->v] - ecgmoe_logaddexp(x[t->normal], x[t->s]);
    if (ecgmoe_is_none(sums->first_margin))
        sums->first_margin = margin;
    sums->largest_margin = ecgmoe_max(sums->largest_margin, margin);
    if (t->artefact >= 0)
        sums->least_artefact = ecgmoe_min(sums->least_artefact, x[t->artefact] - best_beat(t, x));
}

void ecgmoe_combined_logits(const ecgmoe_model_tasks *tasks, const float *logits, int leads, bool early,
                            float combined[ECGMOE_MOST_CLASSES]) {
    if (leads == 1) {
        memcpy(combined, logits, (size_t)tasks->n_classes * sizeof logits[0]);
        return;
    }
    lead_sums sums = {{0}, ECGMOE_NONE_REAL, -ECGMOE_INFINITY, ECGMOE_INFINITY};
    for (int k = 0; k < leads; k++)
        add_lead(tasks, logits + k * tasks->n_classes, &sums);
    ecgmoe_real x[ECGMOE_MOST_CLASSES];
    for (int32_t i = 0; i < tasks->n_classes; i++)
        x[i] = sums.sum[i] / (ecgmoe_real)leads;
    ecgmoe_real margin = early ? sums.largest_margin : sums.first_margin;
    x[tasks->v] = margin + ecgmoe_logaddexp(x[tasks->normal], x[tasks->s]);
    if (tasks->artefact >= 0)
        x[tasks->artefact] = sums.least_artefact + best_beat(tasks, x);
    for (int32_t i = 0; i < tasks->n_classes; i++)
        combined[i] = (float)x[i];
}

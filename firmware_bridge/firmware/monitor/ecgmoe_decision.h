/*
 * From logits to labels, by patient history without annotations. Python: ecgmoe_edge/streaming/decision.py.
 */
#ifndef ECGMOE_DECISION_H
#define ECGMOE_DECISION_H

#include "ecgmoe_config.h"
#include "ecgmoe_model_tasks.h"
#include "ecgmoe_shapes.h"

/* Constants of the rules: decision.DecisionRule, field by field. */
typedef struct {
    ecgmoe_real margin_share_s;
    ecgmoe_real margin_share_v;
    ecgmoe_real usual_margin;
    int32_t memory_beats;
    ecgmoe_real irregular_share;
    ecgmoe_real irregular_penalty;
    ecgmoe_real fibrillation_penalty; /* NaN for Python's None */
    int32_t fibrillation_beats;
    ecgmoe_real shape_share;
    ecgmoe_real shape_correlation;
    ecgmoe_real shape_early_share;
    ecgmoe_real fibrillation_limit;
    bool fibrillation_irregular;
    ecgmoe_real doubtful_quality;
    ecgmoe_real doubtful_margin;
} ecgmoe_decision_rule;

/* Constants that do not belong to a model. */
typedef struct {
    ecgmoe_real early;        /* decision.EARLY */
    ecgmoe_real margin_limit; /* decision.MARGIN_LIMIT */
    int32_t beats_before;     /* decision.BEATS_BEFORE */
    ecgmoe_shapes_constants shapes;
} ecgmoe_decision_constants;

typedef struct {
    const ecgmoe_decision_constants *constants;
    const ecgmoe_model_tasks *tasks;
    ecgmoe_decision_rule rule;
    ecgmoe_real fibrillation; /* mean probability of AF */
    ecgmoe_real margin_s, margin_v; /* running margins */
    uint32_t beats;
    ecgmoe_shape_memory shapes;
} ecgmoe_decision;

void ecgmoe_decision_init(ecgmoe_decision *decision, const ecgmoe_decision_constants *constants,
                          const ecgmoe_decision_rule *rule, const ecgmoe_model_tasks *tasks);
/*
 * Whether a detected peak is an artefact, before the rules: by the largest of the logits (classes,), or since it looks
 * ventricular, but the signal is poor and the model is not sure.
 */
bool ecgmoe_decision_is_artefact(const ecgmoe_decision *decision, const float *logits, ecgmoe_real quality);
/* Index of the largest adjusted logit of a beat class; the artefact is left out. */
int ecgmoe_decision_best_class(const ecgmoe_decision *decision, const ecgmoe_real *adjusted);
/*
 * Write the adjusted logits (classes,) of the next beat.
 *
 * `beat`: window in R amplitudes; NULL without the rule of shapes. `rhythm`: rhythm logits; NULL if the model has none.
 * `learn`: whether the beat is added to the patient history; false for a poor beat and an artefact.
 */
void ecgmoe_decision_apply(ecgmoe_decision *decision, const float *logits, const float *rr_features, const float *beat,
                           const float *rhythm, bool learn, ecgmoe_real adjusted[ECGMOE_MOST_CLASSES]);
/* Combine the logits (leads, classes) of several leads for one beat, the beat's own lead first. */
void ecgmoe_combined_logits(const ecgmoe_model_tasks *tasks, const float *logits, int leads, bool early,
                            float combined[ECGMOE_MOST_CLASSES]);
/* log(exp(a) + exp(b)), without overflow; of `n` values. */
ecgmoe_real ecgmoe_logaddexp(ecgmoe_real a, ecgmoe_real b);
ecgmoe_real ecgmoe_logsumexp(const ecgmoe_real *x, int n);

#endif

#include "ecgmoe_own_layer.h"

#include "ecgmoe_decision.h"

/* The products of the inputs with the matrix, added one after the other. */
typedef struct {
    const ecgmoe_real *weights; /* of the next input */
    ecgmoe_real sums[ECGMOE_LAYER_CLASSES];
} layer_product;

static void add_input(layer_product *product, ecgmoe_real input) {
    for (int32_t k = 0; k < ECGMOE_LAYER_CLASSES; k++)
        product->sums[k] += input * *product->weights++;
}

static void adapt_view(const ecgmoe_real *weights, const ecgmoe_own_layer_constants *c, const ecgmoe_lead_view *view,
                       float *own) {
    layer_product product = {weights, {0}};
    ecgmoe_real logits[ECGMOE_LAYER_CLASSES];
    for (int32_t k = 0; k < ECGMOE_LAYER_CLASSES; k++)
        logits[k] = (ecgmoe_real)own[c->columns[k]];
    ecgmoe_real total = ecgmoe_logsumexp(logits, ECGMOE_LAYER_CLASSES);
    for (int32_t k = 0; k < ECGMOE_LAYER_CLASSES; k++) {
        ecgmoe_real log_probability = ecgmoe_max(logits[k] - total, c->least_log_probability);
        add_input(&product, ecgmoe_min(log_probability, 0) * c->log_probability_scale);
    }
    for (int32_t i = 0; i < ECGMOE_FEATURES; i++)
        add_input(&product, (ecgmoe_real)view->features[i]);
    for (int32_t i = 0; i < ECGMOE_GRID; i += c->every)
        add_input(&product, (ecgmoe_real)((float)c->window_scale * view->beat[0][i]));
    add_input(&product, 1);
    for (int32_t k = 0; k < ECGMOE_LAYER_CLASSES; k++)
        own[c->columns[k]] = (float)(logits[k] + product.sums[k]);
}

void ecgmoe_own_layer_adapt(const ecgmoe_own_layer *layer, const ecgmoe_own_layer_constants *constants,
                            const ecgmoe_model_tasks *tasks, const ecgmoe_beat *beat, const float *logits, float *own) {
    for (int32_t k = 0; k < beat->n_views; k++) {
        int32_t lead = k == 0 ? beat->lead : beat->views[k].lead;
        const ecgmoe_real *weights = layer->weights[lead < 0 ? layer->first_lead : lead];
        float *row = own + k * tasks->n_classes;
        for (int32_t i = 0; i < tasks->n_classes; i++)
            row[i] = logits[k * tasks->n_classes + i];
        if (weights != NULL)
            adapt_view(weights, constants, &beat->views[k], row);
    }
}

#include "ecgmoe_features.h"

#include "ecgmoe_rr_history.h"

/* A waveform and its mean over a part of the window. */
typedef struct {
    const float *x;
    float mean;
} part_of_beat;

static float limited(float x, ecgmoe_real limit) {
    float most = (float)limit;
    x = x < most ? x : most;
    return x > -most ? x : -most;
}

static part_of_beat part_of(const float *row, ecgmoe_points points) {
    float total = 0;
    for (int32_t i = points.begin; i < points.end; i++)
        total += row[i];
    part_of_beat part = {row + points.begin, total / (float)(points.end - points.begin)};
    return part;
}

/* Sum of the products of two parts of `n` points, each without its mean. */
static float shared_energy(part_of_beat a, part_of_beat b, int32_t n) {
    float total = 0;
    for (int32_t i = 0; i < n; i++)
        total += (a.x[i] - a.mean) * (b.x[i] - b.mean);
    return total;
}

/* Write correlation and log energy ratio of window and template in each part. */
static void compare_parts(const ecgmoe_features_constants *c, float (*beat)[ECGMOE_GRID], float *out) {
    for (int32_t k = 0; k < ECGMOE_TEMPLATE_PARTS; k++) {
        ecgmoe_points points = c->parts[k];
        int32_t n = points.end - points.begin;
        part_of_beat own = part_of(beat[0], points), template = part_of(beat[1], points);
        float own_energy = shared_energy(own, own, n) + (float)c->least_energy;
        float template_energy = shared_energy(template, template, n) + (float)c->least_energy;
        *out++ = shared_energy(own, template, n) / sqrtf(own_energy * template_energy);
        *out++ = limited(0.5F * logf(own_energy / template_energy), c->log_limit);
    }
}

/* Width of the QRS complex: the spread of |x| around R. */
static float qrs_width(const ecgmoe_features_constants *c, const float *row) {
    float total = 0, squares = 0, least = (float)c->least_area;
    for (int32_t i = c->around_r.begin; i < c->around_r.end; i++) {
        int32_t distance = i - c->r_index;
        total += fabsf(row[i]);
        squares += fabsf(row[i]) * (float)(distance * distance);
    }
    total = total > least ? total : least;
    return sqrtf(squares / total) / (float)c->width_points;
}

static float steepest(const ecgmoe_features_constants *c, const float *row) {
    float largest = 0;
    for (int32_t i = c->slope.begin; i < c->slope.end; i++) {
        float step = fabsf(row[i + 1] - row[i]);
        largest = step > largest ? step : largest;
    }
    return largest;
}

static float largest_near_r(const ecgmoe_features_constants *c, const float *row) {
    float largest = 0;
    for (int32_t i = c->around_r.begin; i < c->around_r.end; i++)
        largest = fabsf(row[i]) > largest ? fabsf(row[i]) : largest;
    return largest;
}

/* Root mean square of the difference of window and template before the QRS complex. */
static float difference_before_qrs(const ecgmoe_features_constants *c, float (*beat)[ECGMOE_GRID]) {
    float total = 0;
    for (int32_t i = c->before_qrs.begin; i < c->before_qrs.end; i++) {
        float difference = beat[0][i] - beat[1][i];
        total += difference * difference;
    }
    return sqrtf(total / (float)(c->before_qrs.end - c->before_qrs.begin));
}

/* Write the features of features.TEMPLATE_FEATURE_NAMES: how a beat differs from the patient's template. */
static void template_features(const ecgmoe_features_constants *c, float (*beat)[ECGMOE_GRID],
                              float out[ECGMOE_TEMPLATE_FEATURES]) {
    compare_parts(c, beat, out);
    out += 2 * ECGMOE_TEMPLATE_PARTS;
    out[0] = qrs_width(c, beat[0]) - qrs_width(c, beat[1]);
    float slope = (float)c->little_slope, amplitude = (float)c->little_amplitude;
    out[1] = limited(logf(steepest(c, beat[0]) + slope) - logf(steepest(c, beat[1]) + slope), c->log_limit);
    out[2] = logf(difference_before_qrs(c, beat) + (float)c->little_difference);
    out[3] = logf(largest_near_r(c, beat[0]) + amplitude) - logf(largest_near_r(c, beat[1]) + amplitude);
}

void ecgmoe_model_inputs(const ecgmoe_features_constants *constants, float beat[2][ECGMOE_GRID], float amplitude,
                         const float rr_features[ECGMOE_RR_FEATURES], float features[ECGMOE_FEATURES]) {
    float least = (float)constants->least_amplitude;
    float scale = amplitude > least ? amplitude : least;
    for (int32_t k = 0; k < 2; k++)
        for (int32_t i = 0; i < ECGMOE_GRID; i++)
            beat[k][i] = limited(beat[k][i] / scale, constants->waveform_limit);
    for (int32_t i = 0; i < ECGMOE_RR_FEATURES; i++)
        features[i] = rr_features[i];
    template_features(constants, beat, features + ECGMOE_RR_FEATURES);
    bool unknown = rr_features[ECGMOE_RR_KNOWN] < 0.5F; /* it is 0 or 1 */
    for (int32_t i = 0; i < ECGMOE_FEATURES; i++) {
        float scaled = (features[i] - (float)constants->centre[i]) / (float)constants->scale[i];
        features[i] = unknown && i < ECGMOE_RR_KNOWN ? 0 : limited(scaled, constants->feature_limit);
    }
}

void ecgmoe_assemble_inputs(const ecgmoe_features_constants *constants, ecgmoe_beat *beat) {
    if (beat->has_inputs)
        return;
    for (int32_t k = 0; k < beat->n_views; k++) {
        ecgmoe_lead_view *view = &beat->views[k];
        ecgmoe_model_inputs(constants, view->beat, view->amplitude, beat->rr_features, view->features);
    }
    beat->has_inputs = beat->n_views > 0;
}

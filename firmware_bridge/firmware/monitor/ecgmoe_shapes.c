#include "ecgmoe_shapes.h"

#include <string.h>

void ecgmoe_shapes_init(ecgmoe_shape_memory *memory, const ecgmoe_shapes_constants *constants, ecgmoe_real correlation,
                        ecgmoe_real early_share) {
    memset(memory, 0, sizeof *memory);
    memory->constants = constants;
    memory->correlation = correlation;
    memory->early_share = early_share;
}

/* Write the form of a beat without its mean, and return its size. */
static ecgmoe_real form_of(const ecgmoe_shapes_constants *c, const float beat[ECGMOE_GRID],
                           ecgmoe_real x[ECGMOE_FORM]) {
    ecgmoe_real total = 0, energy = 0;
    for (int32_t i = 0; i < ECGMOE_FORM; i++) {
        x[i] = (ecgmoe_real)beat[c->form_begin + i];
        total += x[i];
    }
    ecgmoe_real mean = total / (ecgmoe_real)ECGMOE_FORM;
    for (int32_t i = 0; i < ECGMOE_FORM; i++) {
        x[i] -= mean;
        energy += x[i] * x[i];
    }
    return ecgmoe_sqrt(energy) + c->least_size;
}

/* Sum of products of a form in memory and `x`. */
static ecgmoe_real product(const ecgmoe_shape *shape, const ecgmoe_real x[ECGMOE_FORM]) {
    ecgmoe_real total = 0;
    for (int32_t i = 0; i < ECGMOE_FORM; i++)
        total += (ecgmoe_real)shape->form[i] * x[i];
    return total * shape->scale;
}

static void store_form(ecgmoe_shape *shape, const ecgmoe_real x[ECGMOE_FORM]) {
#ifdef ECGMOE_REAL_FLOAT
    ecgmoe_real largest = 0;
    for (int32_t i = 0; i < ECGMOE_FORM; i++)
        largest = ecgmoe_max(largest, ecgmoe_fabs(x[i]));
    shape->scale = largest / (ecgmoe_real)INT16_MAX;
    for (int32_t i = 0; i < ECGMOE_FORM; i++)
        shape->form[i] = (ecgmoe_stored_form)(shape->scale > 0 ? lrintf(x[i] / shape->scale) : 0);
#else
    memcpy(shape->form, x, sizeof shape->form);
    shape->scale = 1;
#endif
}

/* Index of the shape that the form `x` belongs to; -1 for a new shape. */
static int32_t shape_of(const ecgmoe_shape_memory *m, const ecgmoe_real x[ECGMOE_FORM], ecgmoe_real size) {
    ecgmoe_real ratio = m->constants->ratio, highest = -2;
    int32_t best = -1;
    for (int32_t k = 0; k < m->known; k++) {
        const ecgmoe_shape *shape = &m->shapes[k];
        bool other_size = shape->size > ratio * size || size > ratio * shape->size;
        ecgmoe_real correlation = other_size ? -1 : product(shape, x) / (size * shape->size);
        if (correlation > highest) {
            highest = correlation;
            best = k;
        }
    }
    return highest > m->correlation ? best : -1;
}

static int32_t new_shape(ecgmoe_shape_memory *m, const ecgmoe_real x[ECGMOE_FORM], ecgmoe_real size) {
    int32_t k = 0;
    if (m->known < ECGMOE_SHAPES) {
        k = m->known++;
    } else { /* the one without a beat for the longest time */
        for (int32_t i = 1; i < ECGMOE_SHAPES; i++)
            k = m->shapes[i].seen < m->shapes[k].seen ? i : k;
    }
    memset(&m->shapes[k], 0, sizeof m->shapes[k]);
    store_form(&m->shapes[k], x);
    m->shapes[k].size = size;
    return k;
}

/* The mean margin of a shape, moved towards that of its beats that come as early. */
static ecgmoe_real expected(const ecgmoe_shape_memory *m, const ecgmoe_shape *shape, int32_t earliness) {
    ecgmoe_real of_all = shape->margin[0];
    if (earliness < 0)
        return of_all;
    ecgmoe_real beats = (ecgmoe_real)shape->beats[1 + earliness];
    ecgmoe_real share = m->early_share * beats / (beats + m->constants->trust_early);
    return of_all + share * (shape->margin[1 + earliness] - of_all);
}

static void move_form(const ecgmoe_shapes_constants *c, ecgmoe_shape *shape, const ecgmoe_real x[ECGMOE_FORM]) {
    ecgmoe_real moved[ECGMOE_FORM], energy = 0;
    ecgmoe_real weight = ecgmoe_max(c->least_weight, 1 / ((ecgmoe_real)shape->beats[0] + 1));
    for (int32_t i = 0; i < ECGMOE_FORM; i++) {
        ecgmoe_real old = (ecgmoe_real)shape->form[i] * shape->scale;
        moved[i] = old + weight * (x[i] - old);
        energy += moved[i] * moved[i];
    }
    store_form(shape, moved);
    shape->size = ecgmoe_sqrt(energy) + c->least_size;
}

/* Count one more beat, and add its margin to the running mean `k`. */
static void learn(const ecgmoe_shapes_constants *c, ecgmoe_shape *shape, int32_t k, ecgmoe_real margin) {
    if (shape->beats[k] < ECGMOE_MOST_COUNTED)
        shape->beats[k]++;
    uint32_t most = (uint32_t)c->margin_beats, beats = shape->beats[k];
    shape->margin[k] += (margin - shape->margin[k]) / (ecgmoe_real)(beats < most ? beats : most);
}

/* Class of earliness: 0 for very early; -1 if it says nothing. */
static int32_t earliness_of(const ecgmoe_shapes_constants *c, ecgmoe_real log_rr_ratio) {
    if (ecgmoe_is_none(log_rr_ratio))
        return -1;
    int32_t k = 0;
    while (k < ECGMOE_EARLINESS_CLASSES - 1 && c->earliness[k] <= log_rr_ratio)
        k++;
    return k;
}

ecgmoe_real ecgmoe_shapes_correction(ecgmoe_shape_memory *memory, const float beat[ECGMOE_GRID], ecgmoe_real margin,
                                     ecgmoe_real log_rr_ratio) {
    const ecgmoe_shapes_constants *c = memory->constants;
    ecgmoe_real x[ECGMOE_FORM], correction = 0;
    ecgmoe_real size = form_of(c, beat, x);
    int32_t earliness = earliness_of(c, log_rr_ratio);
    margin = ecgmoe_min(ecgmoe_max(margin, -c->margin_limit), c->margin_limit);
    int32_t k = shape_of(memory, x, size);
    if (k < 0) {
        k = new_shape(memory, x, size);
    } else {
        ecgmoe_real beats = (ecgmoe_real)memory->shapes[k].beats[0];
        correction = beats / (beats + c->trust_beats) * (expected(memory, &memory->shapes[k], earliness) - margin);
        move_form(c, &memory->shapes[k], x);
    }
    ecgmoe_shape *shape = &memory->shapes[k];
    shape->seen = ++memory->beats;
    learn(c, shape, 0, margin);
    if (earliness >= 0)
        learn(c, shape, 1 + earliness, margin);
    return correction;
}

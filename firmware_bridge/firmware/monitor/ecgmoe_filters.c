#include "ecgmoe_filters.h"

#include <string.h>

#ifdef ECGMOE_REAL_FLOAT
ecgmoe_real ecgmoe_filter_push(ecgmoe_filter *f, const ecgmoe_filter_constants *c, ecgmoe_real x) {
    if (!f->started) {
        memset(f->state, 0, sizeof f->state);
        f->first = x;
        f->started = true;
    }
    x -= f->first;
    for (int k = 0; k < c->n_sections; k++) {
        const ecgmoe_filter_section *section = &c->sections[k];
        ecgmoe_real *w = f->state[k];
        ecgmoe_real y = section->b0 * x + w[0];
        w[0] += section->b1 * x - section->a1 * y + w[1];
        w[1] += section->b2 * x - section->a2 * y;
        x = y;
    }
    return x;
}

void ecgmoe_filter_push_all(ecgmoe_filter *f, const ecgmoe_filter_constants *c, ecgmoe_real *x, int32_t n) {
    for (int32_t i = 0; i < n; i++)
        x[i] = ecgmoe_filter_push(f, c, x[i]);
}
#else
ecgmoe_real ecgmoe_filter_push(ecgmoe_filter *f, const ecgmoe_filter_constants *c, ecgmoe_real x) {
    if (!f->started) {
        for (int k = 0; k < c->n_stages; k++)
            for (int i = 0; i < 4; i++)
                f->state[k][i] = c->stages[k].rest[i] * x;
        f->started = true;
    }
    for (int k = 0; k < c->n_stages; k++) {
        const ecgmoe_real *b = c->stages[k].numerator, *a = c->stages[k].denominator;
        ecgmoe_real *z = f->state[k];
        ecgmoe_real y = z[0] + b[0] * x;
        z[0] = z[1] + x * b[1] - y * a[1];
        z[1] = z[2] + x * b[2] - y * a[2];
        z[2] = z[3] + x * b[3] - y * a[3];
        z[3] = x * b[4] - y * a[4];
        x = y;
    }
    return x;
}

void ecgmoe_filter_push_all(ecgmoe_filter *f, const ecgmoe_filter_constants *c, ecgmoe_real *x, int32_t n) {
    for (int k = 0; k < c->n_stages; k++) {
        const ecgmoe_filter_stage stage = c->stages[k]; /* copies, which stay in registers */
        const ecgmoe_real *b = stage.numerator, *a = stage.denominator;
        ecgmoe_real *z = f->state[k];
        ecgmoe_real z0 = z[0], z1 = z[1], z2 = z[2], z3 = z[3];
        for (int32_t i = 0; i < n; i++) {
            const ecgmoe_real u = x[i], y = z0 + b[0] * u;
            z0 = z1 + u * b[1] - y * a[1];
            z1 = z2 + u * b[2] - y * a[2];
            z2 = z3 + u * b[3] - y * a[3];
            z3 = u * b[4] - y * a[4];
            x[i] = y;
        }
        z[0] = z0;
        z[1] = z1;
        z[2] = z2;
        z[3] = z3;
    }
}
#endif

void ecgmoe_notch_design(ecgmoe_notch *n, ecgmoe_real fs, ecgmoe_real frequency_hz, ecgmoe_real q) {
    ecgmoe_real angle = ECGMOE_PI * (ECGMOE_R(2.0) * frequency_hz / fs);
    ecgmoe_real half = angle / q / ECGMOE_R(2.0); /* half the bandwidth at -3 dB */
    ecgmoe_real gain = ECGMOE_R(1.0) / (ECGMOE_R(1.0) + ecgmoe_sin(half) / ecgmoe_cos(half));
    n->b0 = gain;
    n->b1 = n->a1 = gain * (ECGMOE_R(-2.0) * ecgmoe_cos(angle));
    n->a2 = ECGMOE_R(2.0) * gain - ECGMOE_R(1.0);
    n->state[0] = n->state[1] = ECGMOE_R(0.0);
}

void ecgmoe_notch_start(ecgmoe_notch *n, ecgmoe_real fs, ecgmoe_real frequency_hz, ecgmoe_real re, ecgmoe_real im) {
    ecgmoe_real angle = ECGMOE_R(2.0) * ECGMOE_PI * frequency_hz / fs;
    /* One sample back is a turn by (c - j s), two samples back one by (c2 - j s2). */
    ecgmoe_real c = ecgmoe_cos(angle), s = ecgmoe_sin(angle);
    ecgmoe_real c2 = c * c - s * s, s2 = ECGMOE_R(2.0) * c * s;
    ecgmoe_real before_re = re * c + im * s, before_im = im * c - re * s;
    ecgmoe_real earlier_re = before_re * c + before_im * s, earlier_im = before_im * c - before_re * s;
    /* The gain of the notch at this frequency: a quotient of two complex numbers. */
    ecgmoe_real up_re = n->b0 + n->b1 * c + n->b0 * c2, up_im = -n->b1 * s - n->b0 * s2;
    ecgmoe_real low_re = ECGMOE_R(1.0) + n->a1 * c + n->a2 * c2, low_im = -n->a1 * s - n->a2 * s2;
    ecgmoe_real size = low_re * low_re + low_im * low_im;
    ecgmoe_real gain_re = (up_re * low_re + up_im * low_im) / size;
    ecgmoe_real gain_im = (up_im * low_re - up_re * low_im) / size;
    ecgmoe_real out_before = gain_re * before_re - gain_im * before_im;
    ecgmoe_real out_earlier = gain_re * earlier_re - gain_im * earlier_im;
    n->state[1] = n->b0 * before_re - n->a2 * out_before;
    n->state[0] = n->b1 * before_re - n->a1 * out_before + (n->b0 * earlier_re - n->a2 * out_earlier);
}

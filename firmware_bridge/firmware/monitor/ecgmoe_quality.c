#include "ecgmoe_quality.h"

#include <string.h>

static void forget_beats(ecgmoe_quality *q) {
    ecgmoe_median_init(&q->amplitude);
    ecgmoe_median_init(&q->steepness);
    memset(q->before_r, 0, sizeof q->before_r);
    memset(q->qrs, 0, sizeof q->qrs);
    q->p_waves = 0;
}

void ecgmoe_quality_init(ecgmoe_quality *q, const ecgmoe_quality_constants *constants) {
    memset(q, 0, sizeof *q);
    q->constants = constants;
    forget_beats(q);
    ecgmoe_quality_restart(q);
}

void ecgmoe_quality_restart(ecgmoe_quality *q) {
    q->logit = ECGMOE_NONE_REAL;
}

static float change(const float *x, int32_t i, int32_t lag) {
    float step = x[i + lag] - x[i];
    return step < 0.0f ? -step : step;
}

static float second_difference(const float *x, int32_t i) {
    float bend = (x[i + 2] - x[i + 1]) - (x[i + 1] - x[i]);
    return bend < 0.0f ? -bend : bend;
}

/* |second difference|, or |change| within `lag` points if `lag` is not 0. */
static float measure(const float *x, int32_t i, int32_t lag) {
    return lag > 0 ? change(x, i, lag) : second_difference(x, i);
}

static float largest_of(const float *x, int32_t n, int32_t lag) {
    float largest = 0.0f;
    for (int32_t i = 0; i + (lag > 0 ? lag : 2) < n; i++) {
        float value = measure(x, i, lag);
        largest = value > largest ? value : largest;
    }
    return largest;
}

/* The median; of an even count, the upper of the two. */
static float upper_median_of(const float *x, int32_t n, int32_t lag) {
    ecgmoe_real values[ECGMOE_QUALITY_BEGIN];
    const int32_t count = n - (lag > 0 ? lag : 2);
    for (int32_t i = 0; i < count; i++)
        values[i] = (ecgmoe_real)measure(x, i, lag);
    return (float)ecgmoe_select(values, count, count / 2);
}

/* Logarithm of the median before the QRS complex over the largest in it. In a signal without content both are close to
 * nothing, and it must not be called quiet before R: so the less the largest exceeds `little_mv`, the more is added. */
static ecgmoe_real log_ratio(const ecgmoe_quality *q, const float *before, int32_t n, const float *near, int32_t lag,
                             ecgmoe_real little_mv) {
    ecgmoe_real largest = ecgmoe_max((ecgmoe_real)largest_of(near, ECGMOE_QUALITY_NEAR, lag), little_mv);
    ecgmoe_real little = little_mv / largest;
    return ecgmoe_log((ecgmoe_real)upper_median_of(before, n, lag) / largest + q->constants->least_ratio + little * little);
}

static float largest_size(const float *x, int32_t n) {
    float largest = 0.0f;
    for (int32_t i = 0; i < n; i++) {
        float size = x[i] < 0.0f ? -x[i] : x[i];
        largest = size > largest ? size : largest;
    }
    return largest;
}

/* Steepest change over height of a QRS complex, without the line through its ends. */
static ecgmoe_real steepness_of(const ecgmoe_quality_constants *c, const float *near) {
    float wave[ECGMOE_QUALITY_NEAR], rise = near[ECGMOE_QUALITY_NEAR - 1] - near[0];
    const ecgmoe_real step = ECGMOE_R(1.0) / (ecgmoe_real)(ECGMOE_QUALITY_NEAR - 1);
    for (int32_t i = 0; i < ECGMOE_QUALITY_NEAR; i++) {
        float part = i + 1 < ECGMOE_QUALITY_NEAR ? (float)((ecgmoe_real)i * step) : 1.0f;
        wave[i] = near[i] - (near[0] + rise * part);
    }
    ecgmoe_real height = ecgmoe_max((ecgmoe_real)largest_size(wave, ECGMOE_QUALITY_NEAR), c->little_roughness_mv);
    return (ecgmoe_real)largest_of(wave, ECGMOE_QUALITY_NEAR, c->slope_lag) / height;
}

#define P_WAVE (2 * ECGMOE_QUALITY_P_HALF + 1) /* points of a P wave */

/* Write `x` without the straight line through its ends. Returns its norm. */
static ecgmoe_real without_line(const ecgmoe_real *x, ecgmoe_real *out) {
    const ecgmoe_real step = ECGMOE_R(1.0) / (ecgmoe_real)(P_WAVE - 1);
    ecgmoe_real rise = x[P_WAVE - 1] - x[0], power = ECGMOE_R(0.0);
    for (int32_t i = 0; i < P_WAVE; i++) {
        ecgmoe_real part = i + 1 < P_WAVE ? (ecgmoe_real)i * step : ECGMOE_R(1.0);
        out[i] = x[i] - (x[0] + rise * part);
        power += out[i] * out[i];
    }
    return ecgmoe_sqrt(power);
}

/* Correlation of a wave with a past one. size: norm of the past one. */
static ecgmoe_real correlation(const ecgmoe_quality_constants *c, const ecgmoe_real *own, ecgmoe_real own_size,
                               const ecgmoe_real *past, ecgmoe_real *size) {
    ecgmoe_real other[P_WAVE], sum = ECGMOE_R(0.0);
    *size = without_line(past, other);
    for (int32_t i = 0; i < P_WAVE; i++)
        sum += other[i] * own[i];
    return sum / (*size * own_size + c->little_roughness_mv * c->little_roughness_mv);
}

/* Whether a peak has form and size of a wave before the patient's R peaks, and not the form of their QRS. */
static bool resembles_p_wave(const ecgmoe_quality *q, const float *near) {
    const ecgmoe_quality_constants *c = q->constants;
    const int32_t begin = ECGMOE_QUALITY_NEAR / 2 - ECGMOE_QUALITY_P_HALF;
    ecgmoe_real wave[P_WAVE], own[P_WAVE], size;
    for (int32_t i = 0; i < P_WAVE; i++)
        wave[i] = (ecgmoe_real)near[begin + i];
    ecgmoe_real own_size = without_line(wave, own);
    ecgmoe_real with_qrs = ecgmoe_fabs(correlation(c, own, own_size, &q->qrs[begin], &size));
    for (int32_t first = 0; first + P_WAVE <= ECGMOE_QUALITY_PAST; first++) {
        ecgmoe_real alike = correlation(c, own, own_size, &q->before_r[first], &size);
        if (alike >= c->p_alike && alike > with_qrs - c->p_margin && size <= c->p_scale * own_size &&
            own_size <= c->p_scale * size)
            return true;
    }
    return false;
}

static void remember_qrs(ecgmoe_quality *q, const float *before, const float *near, ecgmoe_real amplitude,
                     ecgmoe_real steepness) {
    ecgmoe_real share = q->amplitude.count == 0 ? ECGMOE_R(1.0) : q->constants->newest_mean_share;
    ecgmoe_median_add(&q->amplitude, q->amplitudes, q->amplitude_order, ECGMOE_QUALITY_MEDIAN, amplitude);
    ecgmoe_median_add(&q->steepness, q->steepnesses, q->steepness_order, ECGMOE_QUALITY_MEDIAN, steepness);
    for (int32_t i = 0; i < ECGMOE_QUALITY_PAST; i++)
        q->before_r[i] += share * ((ecgmoe_real)before[i] - q->before_r[i]);
    for (int32_t i = 0; i < ECGMOE_QUALITY_NEAR; i++)
        q->qrs[i] += share * ((ecgmoe_real)near[i] - q->qrs[i]);
}

/* Note whether a peak is noise or a P wave; if not, add it to the patient's QRS complexes.
 *
 * before: signal from 45 to 5 points before R. near: signal up to 13 points from R. own: logit of this beat alone. */
static void judge(ecgmoe_quality *q, const float *before, const float *near, ecgmoe_real own) {
    const ecgmoe_quality_constants *c = q->constants;
    ecgmoe_real amplitude = (ecgmoe_real)largest_size(near, ECGMOE_QUALITY_NEAR);
    ecgmoe_real steepness = steepness_of(c, near);
    bool is_small = q->amplitude.count >= c->fewest_beats &&
                    amplitude < c->small * ecgmoe_median_value(&q->amplitude, q->amplitudes);
    if (is_small) {
        bool is_slow = steepness < c->slow * ecgmoe_median_value(&q->steepness, q->steepnesses);
        bool is_p_wave = amplitude < c->p_wave_mv && (is_slow || resembles_p_wave(q, near));
        q->p_waves = is_p_wave ? (int16_t)(q->p_waves + 1) : 0;
        if (q->p_waves > c->most_p_waves)
            forget_beats(q);
        else
            q->no_qrs = is_p_wave || own < c->poor_logit;
    } else {
        q->p_waves = 0;
    }
    if (!q->no_qrs)
        remember_qrs(q, before, near, amplitude, steepness);
}

static ecgmoe_real probability(ecgmoe_real logit) {
    return ECGMOE_R(1.0) / (ECGMOE_R(1.0) + ecgmoe_exp(-logit));
}

ecgmoe_real ecgmoe_quality_of_beat(ecgmoe_quality *q, const float *window, int32_t r_index, int32_t seen,
                                   bool clipped) {
    const ecgmoe_quality_constants *c = q->constants;
    int32_t begin = r_index - (seen < ECGMOE_QUALITY_BEGIN ? seen : ECGMOE_QUALITY_BEGIN);
    int32_t n = r_index - c->end - begin;
    const float *before = &window[begin], *near = &window[r_index - ECGMOE_QUALITY_NEAR_R];
    q->no_qrs = false;
    if (n >= c->fewest_points) {
        ecgmoe_real own = c->offset + c->roughness * log_ratio(q, before, n, near, 0, c->little_roughness_mv) +
                          c->motion * log_ratio(q, before, n, near, c->lag, c->little_motion_mv);
        judge(q, &window[r_index - ECGMOE_QUALITY_BEGIN], near, own);
        if (q->no_qrs) /* the beats beside it are larger, so it is not averaged with them */
            return probability(own);
        q->logit = ecgmoe_is_none(q->logit) ? own : q->logit + c->newest_share * (own - q->logit);
    }
    ecgmoe_real quality = probability(ecgmoe_is_none(q->logit) ? ECGMOE_R(0.0) : q->logit);
    return clipped ? c->clipped * quality : quality;
}

#include "ecgmoe_mains.h"

#include <string.h>

static void clear_block(ecgmoe_hum_filter *f) {
    f->held = f->in_part = 0;
    f->part = 0;
    memset(f->power, 0, sizeof f->power);
    for (int k = 0; k < ECGMOE_HUMS; k++) {
        ecgmoe_hum *hum = &f->hums[k];
        memset(hum->re, 0, sizeof hum->re);
        memset(hum->im, 0, sizeof hum->im);
        hum->newest = hum->before = ECGMOE_R(0.0);
    }
    f->new_notches = 0;
}

void ecgmoe_hum_init(ecgmoe_hum_filter *f, const ecgmoe_mains_constants *constants) {
    memset(f, 0, sizeof *f);
    f->constants = constants;
    ecgmoe_hum_restart(f, 0);
}

void ecgmoe_hum_restart(ecgmoe_hum_filter *f, int64_t at) {
    f->start = at;
    f->is_first = true;
    for (int k = 0; k < ECGMOE_HUMS; k++)
        f->hums[k].above = f->hums[k].below = 0;
    clear_block(f);
}

/* Compute the phasor of the part that is full: sum of y[n] exp(-j w n), n from the first sample of the block. */
static void end_part(ecgmoe_hum_filter *f, int k) {
    const ecgmoe_hum_constants *c = &f->constants->hums[k];
    ecgmoe_hum *hum = &f->hums[k];
    ecgmoe_real re = hum->newest * c->turn_re - hum->before, im = hum->newest * c->turn_im;
    for (int part = 0; part <= f->part; part++) {
        ecgmoe_real turned = re * c->back_re - im * c->back_im;
        im = re * c->back_im + im * c->back_re;
        re = turned;
    }
    hum->re[f->part] = re;
    hum->im[f->part] = im;
    hum->newest = hum->before = ECGMOE_R(0.0);
}

bool ecgmoe_hum_measure(ecgmoe_hum_filter *f, ecgmoe_real y) {
    const ecgmoe_mains_constants *c = f->constants;
    for (int k = 0; k < ECGMOE_HUMS; k++) {
        ecgmoe_hum *hum = &f->hums[k];
        ecgmoe_real newest = y + (c->hums[k].twice_cos * hum->newest - hum->before);
        hum->before = hum->newest;
        hum->newest = newest;
    }
    f->power[f->part] += y * y;
    f->held++;
    if (++f->in_part < c->part)
        return false;
    for (int k = 0; k < ECGMOE_HUMS; k++)
        end_part(f, k);
    f->in_part = 0;
    f->part++;
    return f->part == ECGMOE_HUM_PARTS;
}

/* Measure `n` samples of one part. */
static void measure_in_part(ecgmoe_hum_filter *f, const ecgmoe_real *y, int32_t n) {
    const ecgmoe_hum_constants *c = f->constants->hums;
    ecgmoe_real power = f->power[f->part], before[ECGMOE_HUMS], newest[ECGMOE_HUMS]; /* copies, for registers */
    for (int k = 0; k < ECGMOE_HUMS; k++) {
        before[k] = f->hums[k].before;
        newest[k] = f->hums[k].newest;
    }
    for (int32_t i = 0; i < n; i++) {
        for (int k = 0; k < ECGMOE_HUMS; k++) {
            const ecgmoe_real next = y[i] + (c[k].twice_cos * newest[k] - before[k]);
            before[k] = newest[k];
            newest[k] = next;
        }
        power += y[i] * y[i];
    }
    for (int k = 0; k < ECGMOE_HUMS; k++) {
        f->hums[k].before = before[k];
        f->hums[k].newest = newest[k];
    }
    f->power[f->part] = power;
    f->held += n;
    f->in_part += n;
}

void ecgmoe_hum_measure_all(ecgmoe_hum_filter *f, const ecgmoe_real *y, int32_t n) {
    while (n > 0) {
        const int32_t left = f->constants->part - f->in_part - 1, taken = n < left ? n : left;
        measure_in_part(f, y, taken);
        if (taken < n)
            (void)ecgmoe_hum_measure(f, y[taken]); /* the last one of the part */
        y += taken + 1;
        n -= taken + 1;
    }
}

static ecgmoe_real magnitude_of(ecgmoe_real re, ecgmoe_real im) {
    return re * re + im * im;
}

static ecgmoe_tone no_tone(const ecgmoe_hum_constants *limits) {
    return (ecgmoe_tone){.frequency_hz = limits->frequency_hz};
}

/* The tone that the phasors of the parts have in common.
 *
 * re, im: one phasor for each part. power: power of the block, mV^2. mean_power: that of the phasors. */
static ecgmoe_tone tone_of(const ecgmoe_mains_constants *c, const ecgmoe_hum_constants *limits, const ecgmoe_real *re,
                           const ecgmoe_real *im, ecgmoe_real power, ecgmoe_real mean_power) {
    ecgmoe_tone tone = no_tone(limits);
    ecgmoe_real turn_re = ECGMOE_R(0.0), turn_im = ECGMOE_R(0.0);
    for (int j = 0; j + 1 < ECGMOE_HUM_PARTS; j++) {
        turn_re += re[j + 1] * re[j] + im[j + 1] * im[j];
        turn_im += im[j + 1] * re[j] - re[j + 1] * im[j];
    }
    ecgmoe_real turn = ecgmoe_atan2(turn_im, turn_re); /* phase advance in each part */
    ecgmoe_real off_hz = turn / (ECGMOE_R(2.0) * ECGMOE_PI * (ecgmoe_real)c->part / c->fs);
    if (mean_power == 0 || ecgmoe_fabs(off_hz) > limits->off_hz)
        return tone;
    /* A part's phasor has the phase of the part's middle; it is turned back to that of the block's first sample. */
    for (int j = 0; j < ECGMOE_HUM_PARTS; j++) {
        ecgmoe_real back = turn * ((ecgmoe_real)j + ECGMOE_R(0.5));
        ecgmoe_real cosine = ecgmoe_cos(back), sine = ecgmoe_sin(back);
        tone.re += re[j] * cosine + im[j] * sine;
        tone.im += im[j] * cosine - re[j] * sine;
    }
    tone.re /= (ecgmoe_real)ECGMOE_HUM_PARTS;
    tone.im /= (ecgmoe_real)ECGMOE_HUM_PARTS;
    tone.frequency_hz += off_hz;
    tone.share = ecgmoe_min(ECGMOE_R(1.0), ECGMOE_R(0.5) * magnitude_of(tone.re, tone.im) / power);
    tone.steadiness = magnitude_of(tone.re, tone.im) / mean_power;
    return tone;
}

static void report_hum(ecgmoe_hum *hum, ecgmoe_notch_state state, const ecgmoe_tone *tone) {
    hum->changed = true;
    hum->state = (uint8_t)state;
    hum->share = tone->share;
    hum->amplitude_mv = ecgmoe_sqrt(magnitude_of(tone->re, tone->im));
}

bool ecgmoe_hum_next_report(ecgmoe_hum_filter *f, ecgmoe_mains_report *report) {
    const ecgmoe_mains_constants *c = f->constants;
    for (int k = 0; k < ECGMOE_HUMS; k++) {
        ecgmoe_hum *hum = &f->hums[k];
        if (!hum->changed)
            continue;
        hum->changed = false;
        int64_t stop = f->start, start = stop - ECGMOE_HUM_PARTS * c->part; /* of the last block */
        *report = (ecgmoe_mains_report){.known_at = stop,
                                        .sample = hum->state == ECGMOE_NOTCH_OUT ? stop : start,
                                        .mains = {.frequency_hz = c->hums[k].nominal_hz,
                                                  .share = hum->share,
                                                  .amplitude_mv = hum->amplitude_mv,
                                                  .notch = (ecgmoe_notch_state)hum->state,
                                                  .lead = ECGMOE_ABSENT}};
        return true;
    }
    return false;
}

static void switch_on(ecgmoe_hum_filter *f, int k, const ecgmoe_tone *tone) {
    const ecgmoe_mains_constants *c = f->constants;
    ecgmoe_hum *hum = &f->hums[k];
    hum->on = true;
    hum->below = 0;
    if (c->hums[k].possible) {
        ecgmoe_notch_design(&hum->notch, c->fs, tone->frequency_hz, c->notch_q);
        ecgmoe_notch_start(&hum->notch, c->fs, tone->frequency_hz, tone->re, tone->im);
        f->order[f->n_notches++] = (int8_t)k;
        f->new_notches = (uint8_t)(f->new_notches | 1u << k);
        report_hum(hum, ECGMOE_NOTCH_IN, tone);
    } else if (!hum->reported) {
        hum->reported = true;
        report_hum(hum, ECGMOE_NOTCH_NOT_POSSIBLE, tone);
    }
}

static void switch_off(ecgmoe_hum_filter *f, int k, const ecgmoe_tone *tone) {
    f->hums[k].on = false;
    f->hums[k].above = 0;
    for (int i = 0; i < f->n_notches; i++) {
        if (f->order[i] != k)
            continue;
        f->n_notches--;
        for (; i < f->n_notches; i++)
            f->order[i] = f->order[i + 1];
        report_hum(&f->hums[k], ECGMOE_NOTCH_OUT, tone);
    }
}

/* One more block in a row, without an overflow: more than a few make no difference. */
static uint8_t one_more(uint8_t blocks) {
    return blocks < UINT8_MAX ? (uint8_t)(blocks + 1) : blocks;
}

/* Decide on one notch at the end of a block. */
static void decide(ecgmoe_hum_filter *f, int k, ecgmoe_tone *tone) {
    const ecgmoe_mains_constants *c = f->constants;
    const ecgmoe_hum_constants *limits = &c->hums[k];
    ecgmoe_hum *hum = &f->hums[k];
    ecgmoe_real amplitude = ecgmoe_sqrt(magnitude_of(tone->re, tone->im));
    tone->is_hum = tone->steadiness >= limits->steadiness && amplitude >= c->least_mv;
    hum->above = tone->is_hum && tone->share >= limits->share ? one_more(hum->above) : 0;
    hum->below = !tone->is_hum || tone->share < c->off_share * limits->share ? one_more(hum->below) : 0;
    if (hum->on) {
        if (hum->below >= c->off_blocks)
            switch_off(f, k, tone);
    } else if (hum->above >= (f->is_first ? 1 : limits->blocks)) {
        switch_on(f, k, tone);
    }
}

/* Measure one frequency in a full block, and decide on its notch. */
static ecgmoe_tone end_hum_block(ecgmoe_hum_filter *f, int k, ecgmoe_real power) {
    const ecgmoe_mains_constants *c = f->constants;
    const ecgmoe_hum_constants *limits = &c->hums[k];
    ecgmoe_real scale = ECGMOE_R(2.0) / (ecgmoe_real)c->part; /* amplitude 1 gives a phasor of size 1 */
    ecgmoe_real re[ECGMOE_HUM_PARTS], im[ECGMOE_HUM_PARTS], sum = ECGMOE_R(0.0);
    for (int j = 0; j < ECGMOE_HUM_PARTS; j++) {
        re[j] = scale * f->hums[k].re[j];
        im[j] = scale * f->hums[k].im[j];
        sum += magnitude_of(re[j], im[j]);
    }
    ecgmoe_real mean_power = sum / (ecgmoe_real)ECGMOE_HUM_PARTS;
    ecgmoe_tone tone = no_tone(limits);
    /* The power of the mean phasor is at most the mean power of the phasors: if this is small, there is no hum. */
    if (ECGMOE_R(0.5) * mean_power >= c->off_share * limits->share * power)
        tone = tone_of(c, limits, re, im, power, mean_power);
    else if (f->hums[k].above == 0 && !f->hums[k].on)
        return tone;
    decide(f, k, &tone);
    return tone;
}

void ecgmoe_hum_decide(ecgmoe_hum_filter *f) {
    const ecgmoe_mains_constants *c = f->constants;
    ecgmoe_tone tones[ECGMOE_HUMS];
    ecgmoe_real power = ECGMOE_R(0.0);
    for (int j = 0; j < ECGMOE_HUM_PARTS; j++)
        power += f->power[j];
    power /= (ecgmoe_real)f->held;
    for (int k = 0; k < ECGMOE_HUMS; k++) {
        tones[k] = no_tone(&c->hums[k]);
        if (c->hums[k].measured)
            tones[k] = end_hum_block(f, k, power);
    }
    if (!f->is_first)
        return;
    f->new_notches = 0;
    for (int i = 0; i < f->n_notches; i++) {
        int k = f->order[i];
        const ecgmoe_tone tone = tones[k].is_hum ? tones[k] : no_tone(&c->hums[k]);
        ecgmoe_notch_start(&f->hums[k].notch, c->fs, tone.frequency_hz, tone.re, tone.im);
    }
}

void ecgmoe_hum_next_block(ecgmoe_hum_filter *f) {
    f->start += f->held;
    f->is_first = false;
    clear_block(f);
}

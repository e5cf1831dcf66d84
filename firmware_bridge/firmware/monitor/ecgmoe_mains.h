/*
 * Mains hum in one lead: its strength, second by second, and when a notch is switched on or off. Python:
 * signal/mains.py, which gives the criteria. The quadrature sums of a part are computed by Goertzel's algorithm (1958):
 * the state is two numbers, and there is no table of waves.
 */
#ifndef ECGMOE_MAINS_H
#define ECGMOE_MAINS_H

#include "ecgmoe_events.h"
#include "ecgmoe_filters.h"

/* A mains frequency, and the criteria for hum at it. Python: one of HUMS. */
typedef struct {
    ecgmoe_real frequency_hz;
    ecgmoe_real nominal_hz; /* round(frequency_hz, 1), as it is reported */
    ecgmoe_real off_hz;
    ecgmoe_real share;
    ecgmoe_real steadiness;
    ecgmoe_real twice_cos;        /* 2 cos(2 pi frequency_hz / fs) */
    ecgmoe_real turn_re, turn_im; /* exp(2j pi frequency_hz / fs): the turn of a tone in one sample */
    ecgmoe_real back_re, back_im; /* exp(-2j pi frequency_hz HumDetector.part / fs): its turn in a part, backwards */
    int32_t blocks;
    bool measured; /* frequency_hz < HIGHEST_MEASURED * fs */
    bool possible; /* frequency_hz < HIGHEST_NOTCH * fs */
} ecgmoe_hum_constants;

/* From a `HumDetector(fs)`; names in capitals are those of the module mains. */
typedef struct {
    bool automatic; /* whether mains is AUTO: hum is measured, and notches are switched on and off */
    ecgmoe_real impossible_hz; /* a constant notch that was requested and is not possible at this rate; 0 for none */
    ecgmoe_real fs;
    int32_t part;    /* HumDetector.part: samples of a part of a block */
    int32_t off_blocks;       /* OFF_BLOCKS */
    ecgmoe_real off_share;    /* OFF_SHARE */
    ecgmoe_real least_mv;     /* LEAST_MV */
    ecgmoe_real notch_q;      /* filters.NOTCH_Q */
    ecgmoe_hum_constants hums[ECGMOE_HUMS];
} ecgmoe_mains_constants;

/* A notch that was switched on or off, or could not be. */
typedef struct {
    int64_t known_at;
    int64_t sample;
    ecgmoe_mains mains; /* without its lead */
} ecgmoe_mains_report;

typedef struct {
    ecgmoe_real re[ECGMOE_HUM_PARTS], im[ECGMOE_HUM_PARTS]; /* phasors of the parts of this block that are full */
    ecgmoe_real newest, before; /* in this part, the last two values of s[n] = y[n] + 2 cos(w) s[n - 1] - s[n - 2] */
    ecgmoe_notch notch;                                     /* while it is switched on */
    uint8_t above; /* number of blocks in a row with enough hum to switch a notch on */
    uint8_t below; /* number of blocks in a row with so little that it is switched off */
    bool on;       /* whether hum was found and not gone since, also if a notch is not possible */
    bool reported; /* that it is not possible at this rate */
    /* What is not reported yet of the decision at the end of the last block. */
    bool changed;
    uint8_t state; /* ecgmoe_notch_state */
    ecgmoe_real share, amplitude_mv;
} ecgmoe_hum;

/* Hum in one block. */
typedef struct {
    ecgmoe_real frequency_hz, re, im, share, steadiness;
    bool is_hum;
} ecgmoe_tone;

/* The notches of one lead. Python: `HumFilter` and its `HumDetector`. */
typedef struct {
    const ecgmoe_mains_constants *constants;
    int64_t start;  /* first sample of the block that is measured */
    int32_t held;   /* number of samples of that block */
    int32_t in_part; /* and of its part */
    int8_t part;
    bool is_first;  /* the block is the first one of a signal */
    ecgmoe_real power[ECGMOE_HUM_PARTS]; /* sum of squares of each part */
    ecgmoe_hum hums[ECGMOE_HUMS];
    int8_t order[ECGMOE_HUMS]; /* the notches in the order in which they were switched on */
    int8_t n_notches;
    uint8_t new_notches; /* bit k: the notch of hum k was switched on at the end of the last block */
} ecgmoe_hum_filter;

void ecgmoe_hum_init(ecgmoe_hum_filter *f, const ecgmoe_mains_constants *constants);

/* Start a new signal at sample `at`; the notches stay until it is measured. */
void ecgmoe_hum_restart(ecgmoe_hum_filter *f, int64_t at);

/* Measure the next sample of the monitoring band, mV. Returns whether it was the last one of a block: then filter it,
 * and call `ecgmoe_hum_decide`. */
bool ecgmoe_hum_measure(ecgmoe_hum_filter *f, ecgmoe_real y);

/* Number of samples that `ecgmoe_hum_measure` takes before the last one of the block. */
static inline int32_t ecgmoe_hum_before_last(const ecgmoe_hum_filter *f) {
    return ECGMOE_HUM_PARTS * f->constants->part - f->held - 1;
}

/* Measure the next `n` samples, at most `ecgmoe_hum_before_last`. */
void ecgmoe_hum_measure_all(ecgmoe_hum_filter *f, const ecgmoe_real *y, int32_t n);

/* Decide at the end of a block. In the first block of a signal, the notches then start with its first sample.
 * Otherwise, the new notches (`new_notches`) are in their state at the block's first sample, `start`: the caller runs
 * them over the block, in their order. A new block begins with `ecgmoe_hum_next_block`. */
void ecgmoe_hum_decide(ecgmoe_hum_filter *f);
void ecgmoe_hum_next_block(ecgmoe_hum_filter *f);

/* Take the next report about the last block, after `ecgmoe_hum_next_block`. */
bool ecgmoe_hum_next_report(ecgmoe_hum_filter *f, ecgmoe_mains_report *report);

/* Filter a sample by all notches that are switched on. */
static inline ecgmoe_real ecgmoe_hum_push(ecgmoe_hum_filter *f, ecgmoe_real y) {
    for (int k = 0; k < f->n_notches; k++)
        y = ecgmoe_notch_push(&f->hums[f->order[k]].notch, y);
    return y;
}

#endif

/*
 * Signal quality of a beat: how much quieter the signal is just before the QRS complex than in it.
 * Python: signal/quality.py, which says how, and where the constants come from.
 */
#ifndef ECGMOE_QUALITY_H
#define ECGMOE_QUALITY_H

#include "ecgmoe_config.h"
#include "ecgmoe_median.h"
#include "ecgmoe_sizes.h"

#define ECGMOE_QUALITY_NEAR (2 * ECGMOE_QUALITY_NEAR_R + 1) /* points around R */
#define ECGMOE_QUALITY_PAST (ECGMOE_QUALITY_BEGIN - ECGMOE_QUALITY_P_END) /* points before R in which P waves lie */

/* Names in capitals are those of the module quality. */
typedef struct {
    int32_t end;           /* END */
    int32_t lag;           /* LAG */
    int32_t fewest_points; /* FEWEST_POINTS */
    ecgmoe_real roughness, motion, offset; /* ROUGHNESS, MOTION, OFFSET */
    ecgmoe_real least_ratio;               /* LEAST_RATIO */
    ecgmoe_real little_roughness_mv, little_motion_mv;
    ecgmoe_real newest_share;              /* NEWEST_SHARE */
    ecgmoe_real poor_logit;                /* POOR_LOGIT */
    ecgmoe_real clipped;                   /* CLIPPED */
    ecgmoe_real small;                     /* SMALL */
    int32_t fewest_beats;                  /* FEWEST_BEATS */
    ecgmoe_real p_wave_mv;                 /* P_WAVE_MV */
    int32_t slope_lag;                     /* SLOPE_LAG */
    ecgmoe_real slow;                      /* SLOW */
    ecgmoe_real p_alike, p_scale, p_margin;
    ecgmoe_real newest_mean_share;         /* 1 - MEAN_KEEPS */
    int32_t most_p_waves;                  /* MOST_P_WAVES */
} ecgmoe_quality_constants;

typedef struct {
    const ecgmoe_quality_constants *constants;
    ecgmoe_real logit; /* average over the last beats; NaN for none */
    bool no_qrs;       /* whether the last beat was a peak of noise or a P wave */
    /* Of the patient's QRS complexes; a break of the signal does not clear them. */
    int16_t p_waves; /* number of P waves in a row */
    ecgmoe_median amplitude, steepness;
    ecgmoe_real amplitudes[ECGMOE_QUALITY_MEDIAN], steepnesses[ECGMOE_QUALITY_MEDIAN]; /* mV, sorted */
    uint8_t amplitude_order[ECGMOE_QUALITY_MEDIAN], steepness_order[ECGMOE_QUALITY_MEDIAN];
    ecgmoe_real before_r[ECGMOE_QUALITY_PAST]; /* mean signal before R, mV */
    ecgmoe_real qrs[ECGMOE_QUALITY_NEAR];      /* mean signal around R, mV */
} ecgmoe_quality;

void ecgmoe_quality_init(ecgmoe_quality *q, const ecgmoe_quality_constants *constants);

/* Forget the average over the last beats, after a break of the signal. */
void ecgmoe_quality_restart(ecgmoe_quality *q);

/* Quality of the next beat, 0 (unusable) to 1 (clean).
 *
 * window: the beat in mV at 128 Hz, from 45 points or more before R to 13 points or more after R.
 * r_index: index of R in `window`.
 * seen: number of points before R since the signal began. With too few, the beat has the quality of the beats before
 * it,
 *     or one half if it is the first.
 * clipped: whether part of the QRS complex is clipped.
 */
ecgmoe_real ecgmoe_quality_of_beat(ecgmoe_quality *q, const float *window, int32_t r_index, int32_t seen, bool clipped);

#endif

/*
 * The patient's past beats in one lead: template and R amplitude. Python:
 * ecgmoe_edge/streaming/patient/lead_history.py.
 *
 * In 32-bit builds the windows are stored in 16 bits with a scale each, and the logarithms of the qualities in 8 bits:
 * the windows are the largest buffer of the monitor. The error of a window is at most 1/65534 of its largest value,
 * that of a quality 2 per cent. A quality has weight only in a patient whose beats are mostly poor.
 */
#ifndef ECGMOE_LEAD_HISTORY_H
#define ECGMOE_LEAD_HISTORY_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

#ifdef ECGMOE_REAL_FLOAT
typedef int16_t ecgmoe_stored_point;
typedef uint8_t ecgmoe_stored_quality;
#else
typedef float ecgmoe_stored_point;
typedef double ecgmoe_stored_quality;
#endif

typedef struct {
    ecgmoe_real least_quality; /* lead_history.LEAST_QUALITY */
    ecgmoe_real least_share;   /* lead_history.LEAST_SHARE */
    int32_t near_begin;        /* max(0, r_index - NEAR_R) */
    int32_t near_end;          /* r_index + NEAR_R + 1 */
} ecgmoe_lead_history_constants;

typedef struct {
    const ecgmoe_lead_history_constants *constants;
    ecgmoe_stored_point windows[ECGMOE_TEMPLATE_BEATS][ECGMOE_GRID];
    float scales[ECGMOE_TEMPLATE_BEATS]; /* mV of one step of the stored points */
    float amplitudes[ECGMOE_AMPLITUDE_BEATS];
    ecgmoe_stored_quality qualities[ECGMOE_QUALITY_BEATS];
    uint8_t next_window, windows_held;
    uint8_t next_amplitude, amplitudes_held;
    uint16_t next_quality, qualities_held;
} ecgmoe_lead_history;

void ecgmoe_lead_history_init(ecgmoe_lead_history *history, const ecgmoe_lead_history_constants *constants);
/* The median of the last windows, mV; for the first beat its own `window`. `out` may not be `window`. */
void ecgmoe_lead_history_template(const ecgmoe_lead_history *history, const float window[ECGMOE_GRID],
                                  float out[ECGMOE_GRID]);
/* The median R amplitude of the last beats, mV; for the first beat that of its own `window`. */
float ecgmoe_lead_history_amplitude(const ecgmoe_lead_history *history, const float window[ECGMOE_GRID]);
/* Remember a complete beat if its quality, 0 to 1, is sufficient. Returns whether it is remembered. */
bool ecgmoe_lead_history_remember(ecgmoe_lead_history *history, const float window[ECGMOE_GRID], ecgmoe_real quality);

#endif

/*
 * The inputs of a model for one beat: waveform, and features relative to the patient's history.
 * Python: ecgmoe_edge/streaming/features.py and `assemble_inputs` of ecgmoe_edge/contract.py.
 *
 * The arithmetic is in 32 bits in every build, as in Python, since these are the inputs of the model.
 */
#ifndef ECGMOE_FEATURES_H
#define ECGMOE_FEATURES_H

#include "ecgmoe_beats.h"

/* Points of the window, counted from its first: [begin, end). */
typedef struct {
    int32_t begin, end;
} ecgmoe_points;

typedef struct {
    ecgmoe_real centre[ECGMOE_FEATURES];                    /* features.FEATURE_CENTRE */
    ecgmoe_real scale[ECGMOE_FEATURES];                     /* features.FEATURE_SCALE */
    ecgmoe_points parts[ECGMOE_TEMPLATE_PARTS];             /* features.PARTS */
    ecgmoe_points around_r;                                 /* features.AROUND_R */
    ecgmoe_points slope;                                    /* features.SLOPE_FROM; each point and the next one */
    ecgmoe_points before_qrs;                               /* features.BEFORE_QRS */
    int32_t r_index;                                        /* index of R in the window */
    ecgmoe_real feature_limit;                              /* features.FEATURE_LIMIT */
    ecgmoe_real waveform_limit;                             /* features.WAVEFORM_LIMIT */
    ecgmoe_real least_amplitude;                            /* features.LEAST_AMPLITUDE */
    ecgmoe_real least_energy;                               /* features.LEAST_ENERGY */
    ecgmoe_real least_area;                                 /* features.LEAST_AREA */
    ecgmoe_real log_limit;                                  /* features.LOG_LIMIT */
    ecgmoe_real width_points;                               /* features.WIDTH_POINTS */
    ecgmoe_real little_slope;                               /* features.LITTLE_SLOPE */
    ecgmoe_real little_difference;                          /* features.LITTLE_DIFFERENCE */
    ecgmoe_real little_amplitude;                           /* features.LITTLE_AMPLITUDE */
} ecgmoe_features_constants;

/* Compute the input "beat", in place from window and template in mV, and the input "features" of one lead. */
void ecgmoe_model_inputs(const ecgmoe_features_constants *constants, float beat[2][ECGMOE_GRID], float amplitude,
                         const float rr_features[ECGMOE_RR_FEATURES], float features[ECGMOE_FEATURES]);

/* Make the views of a beat inputs of the model, once: `has_inputs` is true then. */
void ecgmoe_assemble_inputs(const ecgmoe_features_constants *constants, ecgmoe_beat *beat);

#endif

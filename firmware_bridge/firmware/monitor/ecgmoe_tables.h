/*
 * All constants of a monitor for one sampling rate and one model: coefficients, weights, limits, times in samples.
 *
 * Nothing of this is typed in C. ecgmoe_edge/streaming/c_tables takes it from the Python objects: as a C file for a chip,
 * or at run time for the Python extension.
 */
#ifndef ECGMOE_TABLES_H
#define ECGMOE_TABLES_H

#include "ecgmoe_beat_builder.h"
#include "ecgmoe_detector.h"
#include "ecgmoe_features.h"
#include "ecgmoe_labeller.h"
#include "ecgmoe_signal_constants.h"
#include "ecgmoe_silence.h"
#include "ecgmoe_totals.h"
#include "ecgmoe_unusable.h"

/* From the module frontend; times in samples. */
typedef struct {
    int32_t edge;   /* round(EDGE_S * fs) */
    int32_t t_wave; /* round(T_WAVE_S * fs) */
    int32_t flat;   /* round(FLAT_S * fs) */
} ecgmoe_front_end_constants;

typedef struct {
    double fs; /* Hz, at most ECGMOE_MAX_FS */
    ecgmoe_signal_constants signal;
    ecgmoe_candidates_constants candidates;
    ecgmoe_detector_constants detector;
    ecgmoe_beat_builder_constants builder;
    ecgmoe_lead_history_constants lead_history;
    ecgmoe_rr_history_constants rr;
    ecgmoe_silence_constants silence;
    ecgmoe_unusable_constants unusable;
    ecgmoe_front_end_constants front_end;
    ecgmoe_features_constants features;
    ecgmoe_labeller_constants labeller;
    ecgmoe_totals_constants totals;
} ecgmoe_tables;

#endif

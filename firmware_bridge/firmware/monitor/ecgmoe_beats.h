/*
 * One beat with all that a model needs, and how each lead shows it. Python: ecgmoe_edge/streaming/beats.py.
 */
#ifndef ECGMOE_BEATS_H
#define ECGMOE_BEATS_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

/* Most leads of a beat that a model gets. */
#if ECGMOE_MAX_LEADS < ECGMOE_MOST_LEADS
#define ECGMOE_MOST_VIEWS ECGMOE_MAX_LEADS
#else
#define ECGMOE_MOST_VIEWS ECGMOE_MOST_LEADS
#endif

/* A beat in one lead. The two rows of `beat` are first its window and the patient's template in mV, in the 0.5-40 Hz
 * band; `ecgmoe_assemble_inputs` turns them, in place, into the input "beat" of the model, in R amplitudes. */
typedef struct {
    float beat[2][ECGMOE_GRID];
    float features[ECGMOE_FEATURES]; /* input "features" of the model */
    float amplitude;                 /* median R amplitude of the patient's last 32 beats, mV */
    int8_t lead;
} ecgmoe_lead_view;

/* `known_at` and `ready_at` are numbers of arrived samples: when the R peak was certain, and when the beat was
 * complete. */
typedef struct {
    int64_t sample; /* R peak */
    int64_t known_at;
    int64_t ready_at;
    int32_t rr; /* samples to the R peak before; 0 if it is unknown */
    ecgmoe_real quality;
    ecgmoe_real recurrence; /* NaN for the first beat */
    int8_t lead;            /* lead of the first view; -1 if there is only one lead, or if none shows the beat */
    int8_t n_views;         /* 1 to ECGMOE_MOST_VIEWS; 0 if only R peaks are wanted */
    bool search_back;
    bool complete;
    bool no_qrs;
    bool in_history;
    bool has_inputs; /* the views are inputs of the model */
    float rr_features[ECGMOE_RR_FEATURES];
    float rr_sequence[2][ECGMOE_RR_SEQUENCE]; /* input "rr_sequence" of the model */
    ecgmoe_lead_view views[ECGMOE_MOST_VIEWS]; /* the beat's own lead first */
} ecgmoe_beat;

#endif

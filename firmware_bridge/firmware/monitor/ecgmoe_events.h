/*
 * The events of the monitor: what ecgmoe_edge/streaming/events.py defines for Python, without its texts.
 *
 * A lead is its index among the leads of the monitor, a class its index among the classes of the model, an output of
 * the model its index among the outputs of `ecgmoe_model_tasks`. -1 stands for Python's None. A time in
 * seconds is a `double` in every build, since a `float` cannot tell two samples of a day apart; it is sample / fs.
 */
#ifndef ECGMOE_EVENTS_H
#define ECGMOE_EVENTS_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

#define ECGMOE_ABSENT (-1) /* no lead, no class */

/* GapReason, in the order of Python's Literal. */
typedef enum {
    ECGMOE_GAP_LINK,
    ECGMOE_GAP_DEVICE_OVERFLOW,
    ECGMOE_GAP_HOST_OVERFLOW,
    ECGMOE_GAP_RECONNECT,
    ECGMOE_GAP_RESTART,
    ECGMOE_GAP_NAN,
    ECGMOE_GAP_RANGE
} ecgmoe_gap_reason;

/* LeadReason, in the order of Python's Literal. */
typedef enum {
    ECGMOE_LEAD_START,
    ECGMOE_LEAD_OFF,
    ECGMOE_LEAD_NAN,
    ECGMOE_LEAD_RANGE,
    ECGMOE_LEAD_FLAT,
    ECGMOE_LEAD_RAIL,
    ECGMOE_LEAD_SETTLING,
    ECGMOE_LEAD_NOISE,
    ECGMOE_LEAD_NO_ECG
} ecgmoe_lead_reason;

/* FlatlineKind and NotchState. */
typedef enum { ECGMOE_FLATLINE_FLAT, ECGMOE_FLATLINE_RAIL } ecgmoe_flatline_kind;
typedef enum { ECGMOE_NOTCH_IN, ECGMOE_NOTCH_OUT, ECGMOE_NOTCH_NOT_POSSIBLE } ecgmoe_notch_state;

/* BeatReason, in the order of Python's Literal; ECGMOE_BEAT_GOOD is its None. */
typedef enum {
    ECGMOE_BEAT_GOOD,
    ECGMOE_BEAT_INCOMPLETE,
    ECGMOE_BEAT_NO_QRS,
    ECGMOE_BEAT_QUALITY,
    ECGMOE_BEAT_MODEL,
    ECGMOE_BEAT_ARTEFACT
} ecgmoe_beat_reason;

typedef struct {
    int64_t lost; /* number of samples; -1 if the device does not report it */
    ecgmoe_gap_reason reason;
    bool at_least;
    bool bridged;
    int8_t lead; /* lead of a bridged gap that not all leads have; else ECGMOE_ABSENT */
} ecgmoe_gap;

typedef struct {
    int64_t samples; /* number of constant samples */
    ecgmoe_flatline_kind kind;
    int8_t lead; /* ECGMOE_ABSENT if there is only one; the same in the events that follow */
} ecgmoe_flatline;

typedef struct {
    int64_t duration; /* samples: Python's duration_s * fs */
    int32_t samples;  /* number of samples that were clipped */
    int8_t lead;
} ecgmoe_clipping;

typedef struct {
    ecgmoe_real frequency_hz;
    ecgmoe_real share;        /* NaN if it was not measured */
    ecgmoe_real amplitude_mv; /* NaN if it was not measured */
    ecgmoe_notch_state notch;
    int8_t lead;
} ecgmoe_mains;

typedef struct {
    ecgmoe_real amplitude_mv;
    int32_t width; /* samples */
    int8_t lead;
} ecgmoe_pacing_spike;

typedef struct {
    int8_t n_clear, n_others;
    int8_t clear[ECGMOE_MAX_LEADS];  /* leads with clear beats, in their order */
    int8_t others[ECGMOE_MAX_LEADS]; /* the other leads, in their order */
    uint8_t reasons[ECGMOE_MAX_LEADS]; /* ecgmoe_lead_reason of each of the other leads */
    bool broken;
} ecgmoe_lead_change;

/* Labels of rhythms that are not classes of the model: the alarms. */
typedef enum {
    ECGMOE_RHYTHM_OF_MODEL, /* the class is in `rhythm` */
    ECGMOE_RHYTHM_PAUSE,
    ECGMOE_RHYTHM_ASYSTOLE,
    ECGMOE_RHYTHM_V_RUN,
    ECGMOE_RHYTHM_BRADYCARDIA,
    ECGMOE_RHYTHM_TACHYCARDIA
} ecgmoe_rhythm_kind;

typedef struct {
    double from_s;
    double to_s; /* only if `ended` */
    ecgmoe_rhythm_kind kind;
    int8_t rhythm; /* class of the rhythm logits; ECGMOE_ABSENT for an alarm */
    bool ended;
} ecgmoe_rhythm;

/* One heart beat with its label. */
typedef struct {
    int64_t known_at; /* Python: detection_delay_ms = 1000 (known_at - 1 - sample) / fs */
    int64_t ready_at; /* Python: delay_ms = 1000 (ready_at - 1 - sample) / fs */
    int32_t rr;       /* samples to the R peak before; 0 if it is unknown */
    ecgmoe_real quality;
    ecgmoe_real scores[ECGMOE_MOST_CLASSES]; /* by class, not rounded; only if `has_scores` */
    int8_t label;        /* class; ECGMOE_ABSENT without a model, and for a beat that is `?` */
    int8_t shared_label; /* class without the patient's own layer; ECGMOE_ABSENT if it is the same */
    int8_t experts[ECGMOE_PATHS]; /* the selected expert of each router output, in their order; if `has_scores` */
    ecgmoe_beat_reason reason;    /* why it is `?`; ECGMOE_BEAT_GOOD without a model, and for any other label */
    int8_t lead;
    bool search_back;
    bool is_poor;    /* the label is `?` */
    bool has_scores; /* False without a model, and if its outputs cannot be used */
} ecgmoe_beat_event;

typedef struct {
    int32_t beats;
    int8_t n_outputs;
    int8_t outputs[ECGMOE_MOST_OUTPUTS]; /* unusable outputs of the model, in the order of their appearance */
} ecgmoe_model_fault;

typedef enum {
    ECGMOE_EVENT_BEAT,
    ECGMOE_EVENT_RHYTHM,
    ECGMOE_EVENT_MODEL_FAULT,
    /* These pass from the front end through the labeller unchanged. */
    ECGMOE_EVENT_GAP,
    ECGMOE_EVENT_FLATLINE,
    ECGMOE_EVENT_CLIPPING,
    ECGMOE_EVENT_MAINS,
    ECGMOE_EVENT_PACING_SPIKE,
    ECGMOE_EVENT_LEAD_CHANGE
} ecgmoe_event_kind;

typedef struct {
    ecgmoe_event_kind kind;
    int64_t sample; /* Python's `sample`; time_s is sample / fs; 0 for a rhythm */
    union {
        ecgmoe_beat_event beat;
        ecgmoe_rhythm rhythm;
        ecgmoe_model_fault model_fault;
        ecgmoe_gap gap;
        ecgmoe_flatline flatline;
        ecgmoe_clipping clipping;
        ecgmoe_mains mains;
        ecgmoe_pacing_spike pacing_spike;
        ecgmoe_lead_change lead_change;
    } of;
} ecgmoe_event;

#endif

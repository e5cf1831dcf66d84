/*
 * Rhythm events from beats, from the time without a beat, and from breaks of the signal.
 * Python: ecgmoe_edge/streaming/rhythm/tracker.py.
 */
#ifndef ECGMOE_TRACKER_H
#define ECGMOE_TRACKER_H

#include "ecgmoe_alarms.h"
#include "ecgmoe_ecg_presence.h"
#include "ecgmoe_model_rhythm.h"

typedef struct {
    ecgmoe_rhythm_limits limits;
    ecgmoe_alarm_constants alarms;
    ecgmoe_ecg_presence_constants presence;
    ecgmoe_model_rhythm_constants model_rhythm;
} ecgmoe_tracker_constants;

typedef struct {
    ecgmoe_pause_alarm pause;
    ecgmoe_rate_alarms rate;
    ecgmoe_v_run_alarm v_run;
    ecgmoe_model_rhythm model;
    ecgmoe_ecg_presence ecg;
    double last_s;
    bool clear;         /* whether the last beat was clear */
    bool after_no_beat; /* whether a peak that is no beat came after it */
} ecgmoe_tracker;

/* A beat as the tracker needs it. */
typedef struct {
    double time_s;
    double rr_ms;        /* NaN if it is unknown */
    const float *logits; /* rhythm logits; NULL if there are none */
    ecgmoe_real quality;
    ecgmoe_real recurrence; /* NaN if there was no beat before */
    bool is_v;              /* the label is V */
    bool poor;
    bool no_qrs;
} ecgmoe_tracked_beat;

void ecgmoe_tracker_init(ecgmoe_tracker *tracker, const ecgmoe_tracker_constants *constants,
                         const ecgmoe_model_tasks *tasks);
/* Each writes its events to `out`, and overwrites what is in it. */
void ecgmoe_tracker_beat(ecgmoe_tracker *tracker, const ecgmoe_tracked_beat *beat, ecgmoe_rhythm_list *out);
void ecgmoe_tracker_artefact(ecgmoe_tracker *tracker, double time_s, ecgmoe_rhythm_list *out);
void ecgmoe_tracker_silence(ecgmoe_tracker *tracker, double since_s, double seconds, bool after_beat,
                            ecgmoe_rhythm_list *out);
void ecgmoe_tracker_interrupt(ecgmoe_tracker *tracker, double at_s, bool lead_lost, ecgmoe_rhythm_list *out);

#endif

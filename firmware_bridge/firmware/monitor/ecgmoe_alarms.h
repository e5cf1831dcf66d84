/*
 * Alarms from R peaks and labels: pause, asystole, V run, bradycardia, tachycardia.
 * Python: ecgmoe_edge/streaming/rhythm/alarms.py and limits.py.
 *
 * Times are of the whole stream, in seconds, and therefore `double` in every build. They are computed a few times for
 * each beat.
 */
#ifndef ECGMOE_ALARMS_H
#define ECGMOE_ALARMS_H

#include "ecgmoe_rhythm_list.h"

/* When a rhythm is reported: limits.RhythmLimits, field by field. */
typedef struct {
    double pause_s;
    double asystole_s;
    double bradycardia_bpm;
    double tachycardia_bpm;
    int32_t v_run_beats;
} ecgmoe_rhythm_limits;

typedef struct {
    double hysteresis_bpm;  /* alarms.HYSTERESIS_BPM */
    double longest_span;    /* alarms.LONGEST_SPAN */
    int32_t no_rate_after;  /* alarms.NO_RATE_AFTER */
} ecgmoe_alarm_constants;

/* A rhythm that begins and ends. */
typedef struct {
    double from_s;
    ecgmoe_rhythm_kind kind;
    int8_t rhythm; /* class of the rhythm logits; ECGMOE_ABSENT for an alarm */
    bool lasts;    /* whether it has begun */
} ecgmoe_alarm;

void ecgmoe_alarm_init(ecgmoe_alarm *alarm, ecgmoe_rhythm_kind kind, int8_t rhythm);
void ecgmoe_alarm_begin(ecgmoe_alarm *alarm, double from_s, ecgmoe_rhythm_list *out);
void ecgmoe_alarm_end(ecgmoe_alarm *alarm, double to_s, ecgmoe_rhythm_list *out);

/* Pause and asystole. An `rr_ms` that is NaN is not valid; the same for the rate. */
typedef struct {
    const ecgmoe_rhythm_limits *limits;
    ecgmoe_alarm pause, asystole;
} ecgmoe_pause_alarm;

void ecgmoe_pause_alarm_init(ecgmoe_pause_alarm *alarm, const ecgmoe_rhythm_limits *limits);
void ecgmoe_pause_alarm_silence(ecgmoe_pause_alarm *alarm, double since_s, double seconds, bool is_rr,
                                ecgmoe_rhythm_list *out);
void ecgmoe_pause_alarm_beat(ecgmoe_pause_alarm *alarm, double time_s, double rr_ms, ecgmoe_rhythm_list *out);
void ecgmoe_pause_alarm_end(ecgmoe_pause_alarm *alarm, double at_s, ecgmoe_rhythm_list *out);

/* A given number of V beats in a row. */
typedef struct {
    const ecgmoe_rhythm_limits *limits;
    ecgmoe_alarm alarm;
    double first_s, last_s;
    int32_t beats;
    bool after_artefact;
} ecgmoe_v_run_alarm;

void ecgmoe_v_run_alarm_init(ecgmoe_v_run_alarm *alarm, const ecgmoe_rhythm_limits *limits);
void ecgmoe_v_run_alarm_beat(ecgmoe_v_run_alarm *alarm, double time_s, bool is_v, bool may_begin,
                             ecgmoe_rhythm_list *out);
void ecgmoe_v_run_alarm_artefact(ecgmoe_v_run_alarm *alarm, double time_s, ecgmoe_rhythm_list *out);
void ecgmoe_v_run_alarm_end(ecgmoe_v_run_alarm *alarm, ecgmoe_rhythm_list *out);

/* Bradycardia and tachycardia. */
typedef struct {
    const ecgmoe_rhythm_limits *limits;
    const ecgmoe_alarm_constants *constants;
    ecgmoe_alarm slow, fast;
    double begins_s[ECGMOE_RATE_BEATS]; /* a ring of intervals: their begin in s, */
    double lengths_ms[ECGMOE_RATE_BEATS]; /* and their length in ms */
    double last_s, ended_s;
    int32_t unknown;
    uint8_t first, count; /* of the ring */
} ecgmoe_rate_alarms;

void ecgmoe_rate_alarms_init(ecgmoe_rate_alarms *alarms, const ecgmoe_rhythm_limits *limits,
                             const ecgmoe_alarm_constants *constants);
void ecgmoe_rate_alarms_beat(ecgmoe_rate_alarms *alarms, double time_s, double rr_ms, bool may_begin,
                             ecgmoe_rhythm_list *out);
void ecgmoe_rate_alarms_silence(ecgmoe_rate_alarms *alarms, double since_s, double seconds, ecgmoe_rhythm_list *out);
void ecgmoe_rate_alarms_end(ecgmoe_rate_alarms *alarms, ecgmoe_rhythm_list *out);

#endif

#include "ecgmoe_alarms.h"

#include <string.h>

static double larger(double a, double b) {
    return a > b ? a : b;
}

/* ------------------------------------------------------------------ one alarm */

void ecgmoe_alarm_init(ecgmoe_alarm *alarm, ecgmoe_rhythm_kind kind, int8_t rhythm) {
    alarm->from_s = 0;
    alarm->kind = kind;
    alarm->rhythm = rhythm;
    alarm->lasts = false;
}

static void report(const ecgmoe_alarm *alarm, double to_s, bool ended, ecgmoe_rhythm_list *out) {
    if (out->count == ECGMOE_MOST_RHYTHM_EVENTS)
        return;
    ecgmoe_rhythm *event = &out->events[out->count++];
    event->from_s = alarm->from_s;
    event->to_s = to_s;
    event->kind = alarm->kind;
    event->rhythm = alarm->rhythm;
    event->ended = ended;
}

/* Report the begin, unless the rhythm has begun already. */
void ecgmoe_alarm_begin(ecgmoe_alarm *alarm, double from_s, ecgmoe_rhythm_list *out) {
    if (alarm->lasts)
        return;
    alarm->lasts = true;
    alarm->from_s = from_s;
    report(alarm, 0, false, out);
}

/* Report the end, if the rhythm has begun; the end is never earlier than the begin. */
void ecgmoe_alarm_end(ecgmoe_alarm *alarm, double to_s, ecgmoe_rhythm_list *out) {
    if (!alarm->lasts)
        return;
    report(alarm, larger(to_s, alarm->from_s), true, out);
    alarm->lasts = false;
}

/* ------------------------------------------------------------------ pause and asystole */

void ecgmoe_pause_alarm_init(ecgmoe_pause_alarm *alarm, const ecgmoe_rhythm_limits *limits) {
    alarm->limits = limits;
    ecgmoe_alarm_init(&alarm->pause, ECGMOE_RHYTHM_PAUSE, ECGMOE_ABSENT);
    ecgmoe_alarm_init(&alarm->asystole, ECGMOE_RHYTHM_ASYSTOLE, ECGMOE_ABSENT);
}

void ecgmoe_pause_alarm_silence(ecgmoe_pause_alarm *alarm, double since_s, double seconds, bool is_rr,
                                ecgmoe_rhythm_list *out) {
    if (seconds >= alarm->limits->asystole_s)
        ecgmoe_alarm_begin(&alarm->asystole, since_s, out);
    else if (is_rr)
        ecgmoe_alarm_begin(&alarm->pause, since_s, out);
}

void ecgmoe_pause_alarm_beat(ecgmoe_pause_alarm *alarm, double time_s, double rr_ms, ecgmoe_rhythm_list *out) {
    /* So little longer than the limit that the R peak came before the silence. An unknown interval compares as
     * false. */
    if (rr_ms > 1000.0 * alarm->limits->pause_s)
        ecgmoe_alarm_begin(&alarm->pause, time_s - rr_ms / 1000.0, out);
    ecgmoe_pause_alarm_end(alarm, time_s, out);
}

void ecgmoe_pause_alarm_end(ecgmoe_pause_alarm *alarm, double at_s, ecgmoe_rhythm_list *out) {
    ecgmoe_alarm_end(&alarm->asystole, at_s, out);
    ecgmoe_alarm_end(&alarm->pause, at_s, out);
}

/* ------------------------------------------------------------------ V run */

void ecgmoe_v_run_alarm_init(ecgmoe_v_run_alarm *alarm, const ecgmoe_rhythm_limits *limits) {
    memset(alarm, 0, sizeof *alarm);
    alarm->limits = limits;
    ecgmoe_alarm_init(&alarm->alarm, ECGMOE_RHYTHM_V_RUN, ECGMOE_ABSENT);
}

void ecgmoe_v_run_alarm_beat(ecgmoe_v_run_alarm *alarm, double time_s, bool is_v, bool may_begin,
                             ecgmoe_rhythm_list *out) {
    if (!is_v || (alarm->after_artefact && time_s - alarm->last_s > alarm->limits->pause_s))
        ecgmoe_v_run_alarm_end(alarm, out);
    alarm->after_artefact = false;
    if (!is_v)
        return;
    if (alarm->beats == 0)
        alarm->first_s = time_s;
    if (alarm->beats < alarm->limits->v_run_beats)
        alarm->beats++;
    alarm->last_s = time_s;
    if (alarm->beats == alarm->limits->v_run_beats && may_begin)
        ecgmoe_alarm_begin(&alarm->alarm, alarm->first_s, out);
}

void ecgmoe_v_run_alarm_artefact(ecgmoe_v_run_alarm *alarm, double time_s, ecgmoe_rhythm_list *out) {
    alarm->after_artefact = true;
    if (time_s - alarm->last_s > alarm->limits->pause_s)
        ecgmoe_v_run_alarm_end(alarm, out);
}

void ecgmoe_v_run_alarm_end(ecgmoe_v_run_alarm *alarm, ecgmoe_rhythm_list *out) {
    ecgmoe_alarm_end(&alarm->alarm, alarm->last_s, out);
    alarm->beats = 0;
}

/* ------------------------------------------------------------------ heart rate */

void ecgmoe_rate_alarms_init(ecgmoe_rate_alarms *alarms, const ecgmoe_rhythm_limits *limits,
                             const ecgmoe_alarm_constants *constants) {
    memset(alarms, 0, sizeof *alarms);
    alarms->limits = limits;
    alarms->constants = constants;
    ecgmoe_alarm_init(&alarms->slow, ECGMOE_RHYTHM_BRADYCARDIA, ECGMOE_ABSENT);
    ecgmoe_alarm_init(&alarms->fast, ECGMOE_RHYTHM_TACHYCARDIA, ECGMOE_ABSENT);
}

static void end_alarm(ecgmoe_rate_alarms *alarms, ecgmoe_alarm *alarm, double at_s, ecgmoe_rhythm_list *out) {
    if (alarm->lasts)
        alarms->ended_s = at_s;
    ecgmoe_alarm_end(alarm, at_s, out);
}

/* End both alarms with the last usable RR interval, since the rate is unknown after it. */
void ecgmoe_rate_alarms_end(ecgmoe_rate_alarms *alarms, ecgmoe_rhythm_list *out) {
    alarms->count = 0;
    alarms->unknown = 0;
    end_alarm(alarms, &alarms->slow, alarms->last_s, out);
    end_alarm(alarms, &alarms->fast, alarms->last_s, out);
}

static void add_interval(ecgmoe_rate_alarms *a, double begin_s, double length_ms) {
    int32_t at = (a->first + a->count) % ECGMOE_RATE_BEATS;
    a->begins_s[at] = begin_s;
    a->lengths_ms[at] = length_ms;
    if (a->count < ECGMOE_RATE_BEATS)
        a->count++;
    else
        a->first = (uint8_t)((a->first + 1) % ECGMOE_RATE_BEATS);
}

/* Sum of the intervals without the first `skipped` ones, ms. */
static double total_of(const ecgmoe_rate_alarms *a, int32_t skipped) {
    double total = 0;
    for (int32_t k = skipped; k < a->count; k++)
        total += a->lengths_ms[(a->first + k) % ECGMOE_RATE_BEATS];
    return total;
}

static void compare_rate(ecgmoe_rate_alarms *a, double rate, double time_s, bool may_begin, ecgmoe_rhythm_list *out) {
    double begin_s = a->begins_s[a->first], hysteresis = a->constants->hysteresis_bpm;
    if (rate > a->limits->bradycardia_bpm + hysteresis)
        end_alarm(a, &a->slow, time_s, out);
    if (rate < a->limits->tachycardia_bpm - hysteresis)
        end_alarm(a, &a->fast, time_s, out);
    if (may_begin && rate < a->limits->bradycardia_bpm) {
        end_alarm(a, &a->fast, time_s, out);
        ecgmoe_alarm_begin(&a->slow, larger(begin_s, a->ended_s), out);
    } else if (may_begin && rate > a->limits->tachycardia_bpm) {
        end_alarm(a, &a->slow, time_s, out);
        ecgmoe_alarm_begin(&a->fast, larger(begin_s, a->ended_s), out);
    }
}

void ecgmoe_rate_alarms_beat(ecgmoe_rate_alarms *alarms, double time_s, double rr_ms, bool may_begin,
                             ecgmoe_rhythm_list *out) {
    if (isnan(rr_ms)) {
        alarms->unknown++;
        if (alarms->unknown == alarms->constants->no_rate_after)
            ecgmoe_rate_alarms_end(alarms, out);
        return;
    }
    alarms->unknown = 0;
    alarms->last_s = time_s;
    add_interval(alarms, time_s - rr_ms / 1000.0, rr_ms);
    double total_s = total_of(alarms, 0) / 1000.0, span_s = time_s - alarms->begins_s[alarms->first];
    if (alarms->count < ECGMOE_RATE_BEATS || span_s > alarms->constants->longest_span * total_s)
        return;
    compare_rate(alarms, 60.0 * ECGMOE_RATE_BEATS / total_s, time_s, may_begin, out);
}

/* No R peak came for `seconds`; the rate is at most that with an R peak now. */
void ecgmoe_rate_alarms_silence(ecgmoe_rate_alarms *alarms, double since_s, double seconds, ecgmoe_rhythm_list *out) {
    double recent_s = total_of(alarms, 1) / 1000.0;
    double rate = 60.0 * (alarms->count > 1 ? alarms->count : 1) / (recent_s + seconds);
    if (rate < alarms->limits->tachycardia_bpm - alarms->constants->hysteresis_bpm)
        end_alarm(alarms, &alarms->fast, since_s, out);
}

#include "ecgmoe_tracker.h"

void ecgmoe_tracker_init(ecgmoe_tracker *tracker, const ecgmoe_tracker_constants *constants,
                         const ecgmoe_model_tasks *tasks) {
    ecgmoe_pause_alarm_init(&tracker->pause, &constants->limits);
    ecgmoe_rate_alarms_init(&tracker->rate, &constants->limits, &constants->alarms);
    ecgmoe_v_run_alarm_init(&tracker->v_run, &constants->limits);
    ecgmoe_model_rhythm_init(&tracker->model, &constants->model_rhythm, tasks);
    ecgmoe_ecg_presence_init(&tracker->ecg, &constants->presence);
    tracker->last_s = 0;
    tracker->clear = tracker->after_no_beat = false;
}

/* Note a beat that is one, with its RR interval if it is between two clear beats. */
static void note_beat(ecgmoe_tracker *t, const ecgmoe_tracked_beat *beat, double valid_rr_ms, ecgmoe_rhythm_list *out) {
    bool may_begin = ecgmoe_ecg_presence_present(&t->ecg);
    ecgmoe_pause_alarm_beat(&t->pause, beat->time_s, may_begin ? valid_rr_ms : (double)NAN, out);
    ecgmoe_rate_alarms_beat(&t->rate, beat->time_s, valid_rr_ms, may_begin, out);
    ecgmoe_v_run_alarm_beat(&t->v_run, beat->time_s, beat->is_v, t->ecg.shown, out);
    if (!isnan(valid_rr_ms))
        ecgmoe_model_rhythm_add_rr(&t->model, valid_rr_ms);
    if (beat->logits != NULL && !beat->poor)
        ecgmoe_model_rhythm_beat(&t->model, beat->time_s, beat->logits, may_begin, out);
    t->last_s = beat->time_s;
}

void ecgmoe_tracker_beat(ecgmoe_tracker *tracker, const ecgmoe_tracked_beat *beat, ecgmoe_rhythm_list *out) {
    out->count = 0;
    if (beat->no_qrs) {
        ecgmoe_v_run_alarm_end(&tracker->v_run, out);
        tracker->after_no_beat = true;
        return;
    }
    ecgmoe_real known_rr = tracker->after_no_beat ? ECGMOE_NONE_REAL : (ecgmoe_real)beat->rr_ms;
    bool clear = ecgmoe_ecg_presence_beat(&tracker->ecg, beat->quality, known_rr, beat->poor, beat->recurrence);
    /* An RR interval is valid between two clear beats without a peak between them. */
    bool is_valid = clear && tracker->clear && !tracker->after_no_beat;
    tracker->clear = clear;
    tracker->after_no_beat = false;
    note_beat(tracker, beat, is_valid ? beat->rr_ms : (double)NAN, out);
}

/* A detected peak of which the model answered that it is no beat. It ends no pause and no asystole, and is neither part
 * of a V run nor its end. Like a beat that is `?`, it counts against the signal. */
void ecgmoe_tracker_artefact(ecgmoe_tracker *tracker, double time_s, ecgmoe_rhythm_list *out) {
    out->count = 0;
    tracker->after_no_beat = true;
    ecgmoe_ecg_presence_beat(&tracker->ecg, 0, ECGMOE_NONE_REAL, true, ECGMOE_NONE_REAL);
    ecgmoe_rate_alarms_beat(&tracker->rate, time_s, (double)NAN, false, out);
    ecgmoe_v_run_alarm_artefact(&tracker->v_run, time_s, out);
}

void ecgmoe_tracker_silence(ecgmoe_tracker *tracker, double since_s, double seconds, bool after_beat,
                            ecgmoe_rhythm_list *out) {
    out->count = 0;
    ecgmoe_v_run_alarm_end(&tracker->v_run, out);
    ecgmoe_rate_alarms_silence(&tracker->rate, since_s, seconds, out);
    if (tracker->ecg.shown) {
        bool is_rr = after_beat && tracker->clear && ecgmoe_ecg_presence_present(&tracker->ecg);
        ecgmoe_pause_alarm_silence(&tracker->pause, since_s, seconds, is_rr, out);
    }
}

/* End all rhythms, since there is no signal from `at_s` on. `lead_lost`: the next signal has to show an ECG first. */
void ecgmoe_tracker_interrupt(ecgmoe_tracker *tracker, double at_s, bool lead_lost, ecgmoe_rhythm_list *out) {
    out->count = 0;
    ecgmoe_pause_alarm_end(&tracker->pause, at_s, out);
    ecgmoe_v_run_alarm_end(&tracker->v_run, out);
    ecgmoe_rate_alarms_end(&tracker->rate, out);
    ecgmoe_model_rhythm_end(&tracker->model, tracker->last_s, out);
    tracker->clear = false;
    if (lead_lost)
        ecgmoe_ecg_presence_forget(&tracker->ecg);
}

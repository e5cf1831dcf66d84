/*
 * The leads together: which of them vote, their rating of a possible beat, its R peak, and what is reported.
 * Python: `LeadPanel` in ecgmoe_edge/streaming/qrs/lead_panel.py.
 */
#ifndef ECGMOE_LEAD_PANEL_H
#define ECGMOE_LEAD_PANEL_H

#include "ecgmoe_possible_beat.h"

/* From the module `lead_panel`. */
typedef struct {
    ecgmoe_real assumed_following; /* ASSUMED_FOLLOWING */
    ecgmoe_real not_shown;         /* NOT_SHOWN */
    ecgmoe_real as_clear;          /* AS_CLEAR */
} ecgmoe_lead_panel_constants;

typedef struct {
    const ecgmoe_lead_panel_constants *constants;
    ecgmoe_lead_memory leads[ECGMOE_MAX_LEADS];
    ecgmoe_lead_status status; /* the last one reported, without its times */
    int8_t n_leads;
} ecgmoe_lead_panel;

void ecgmoe_panel_init(
    ecgmoe_lead_panel *panel,
    const ecgmoe_lead_panel_constants *constants,
    const ecgmoe_lead_memory_constants *lead,
    const ecgmoe_rating_constants *rating,
    int n_leads);

/* End the signal of all leads. */
void ecgmoe_panel_restart(ecgmoe_lead_panel *panel);

/* The candidate of a lead that belongs to a possible beat; NULL if the lead does not show it. */
static inline const ecgmoe_candidate *ecgmoe_panel_shown(
    const ecgmoe_lead_panel *panel, const ecgmoe_possible_beat *possible, int lead) {
    const int place = possible->shown[lead];
    return place == ECGMOE_NO_PLACE ? NULL : &panel->leads[lead].candidates[place];
}

/*
 * Log odds of a beat from all leads that vote; minus infinity if none votes. `settled`: the energy after it counts, as far as
 * it is known once `now` samples have arrived.
 */
ecgmoe_real ecgmoe_panel_log_odds(
    ecgmoe_lead_panel *panel,
    const ecgmoe_possible_beat *possible,
    const ecgmoe_beat_timing *timing,
    int64_t now,
    bool settled);

/* Whether a possible beat has in every lead too little energy for a beat. */
bool ecgmoe_panel_is_weak(const ecgmoe_lead_panel *panel, const ecgmoe_possible_beat *possible);

/* The R peak; `first` becomes the lead that it is taken from. */
int64_t ecgmoe_panel_locate(ecgmoe_lead_panel *panel, const ecgmoe_possible_beat *possible, int *first);

/* Correlation with the beats before, in the lead where it is highest; NaN before any beat. */
ecgmoe_real ecgmoe_panel_recurrence(const ecgmoe_lead_panel *panel, const ecgmoe_possible_beat *possible);

/* Write which leads are usable once `arrived` samples have arrived; false if nothing has changed. */
bool ecgmoe_panel_status(ecgmoe_lead_panel *panel, int64_t arrived, bool broken, ecgmoe_lead_status *status);

/* Note that a lead shows no ECG; all differences between R peaks were learnt with it and are forgotten. */
void ecgmoe_panel_find_no_ecg(ecgmoe_lead_panel *panel, int lead);

/* The lead that will be the next to have shown no ECG for too long; -1 if there is none. */
int ecgmoe_panel_next_ecg_deadline(const ecgmoe_lead_panel *panel);

/* The lead whose learning ends next, of those that began while others were present; -1 if there is none. */
int ecgmoe_panel_next_learning_end(const ecgmoe_lead_panel *panel);

#endif

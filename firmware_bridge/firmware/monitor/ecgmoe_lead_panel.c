#include "ecgmoe_lead_panel.h"

#include <string.h>

void ecgmoe_panel_init(
    ecgmoe_lead_panel *panel,
    const ecgmoe_lead_panel_constants *constants,
    const ecgmoe_lead_memory_constants *lead,
    const ecgmoe_rating_constants *rating,
    int n_leads) {
    panel->constants = constants;
    panel->n_leads = (int8_t)n_leads;
    for (int k = 0; k < ECGMOE_MAX_LEADS; k++) {
        ecgmoe_lead_memory_init(&panel->leads[k], lead, rating);
    }
    ecgmoe_panel_restart(panel);
}

void ecgmoe_panel_restart(ecgmoe_lead_panel *panel) {
    memset(&panel->status, 0, sizeof panel->status);
    panel->status.n_order = panel->n_leads;
    for (int k = 0; k < panel->n_leads; k++) {
        panel->leads[k].present = panel->leads[k].votes = false;
        panel->status.order[k] = (int8_t)k;
        panel->status.clear |= (uint8_t)(1u << k);
    }
}

/*
 * Leads without an ECG may share one disturbance, such as the mains hum of open inputs. So if any lead supports the beat,
 * all leads that are against it and have not shown an ECG count together as one.
 */
ecgmoe_real ecgmoe_panel_log_odds(
    ecgmoe_lead_panel *panel,
    const ecgmoe_possible_beat *possible,
    const ecgmoe_beat_timing *timing,
    int64_t now,
    bool settled) {
    const ecgmoe_lead_panel_constants *const c = panel->constants;
    ecgmoe_real total = 0, against = 0, only = -ECGMOE_INFINITY, clearest = 0;
    int votes = 0, unproven = 0; /* `unproven`: leads that are against it and have not shown an ECG */
    for (int k = 0; k < panel->n_leads; k++) {
        ecgmoe_lead_memory *const lead = &panel->leads[k];
        const ecgmoe_candidate *const shown = ecgmoe_panel_shown(panel, possible, k);
        if (lead->learning || !(shown == NULL ? lead->votes : (possible->voting >> k & 1u) != 0)) {
            continue;
        }
        if (shown != NULL) {
            const bool known = settled && ecgmoe_candidate_settled_at(shown) <= now;
            only = ecgmoe_lead_log_odds(lead, shown, timing, known ? shown->following : c->assumed_following);
        } else if (ecgmoe_lead_counts_if_not_shown(lead)) {
            only = c->not_shown;
        } else {
            continue;
        }
        const ecgmoe_real weight = ecgmoe_lead_weight(lead);
        clearest = ecgmoe_max(clearest, weight);
        if (only < 0 && !lead->has_ecg) {
            against += weight * only;
            unproven++;
        } else {
            total += weight * only;
            votes++;
        }
    }
    if (votes + unproven < 2) {
        return only;
    }
    if (votes > 0 && unproven > 0) {
        against /= (ecgmoe_real)unproven;
    }
    return (total + against) / clearest;
}

bool ecgmoe_panel_is_weak(const ecgmoe_lead_panel *panel, const ecgmoe_possible_beat *possible) {
    for (int k = 0; k < panel->n_leads; k++) {
        const ecgmoe_candidate *const shown = ecgmoe_panel_shown(panel, possible, k);
        if (shown != NULL && !ecgmoe_rater_is_weak(&panel->leads[k].rater, shown)) {
            return false;
        }
    }
    return true;
}

/* The leads that vote for a possible beat and have shown an ECG; if there are none, those quieter on both sides of it. */
static unsigned likely_leads(const ecgmoe_lead_panel *panel, const ecgmoe_possible_beat *possible) {
    unsigned with_ecg = 0, quiet = 0;
    for (int k = 0; k < panel->n_leads; k++) {
        const ecgmoe_candidate *const shown = ecgmoe_panel_shown(panel, possible, k);
        if (shown == NULL || !(possible->voting >> k & 1u)) {
            continue;
        }
        with_ecg |= panel->leads[k].has_ecg ? 1u << k : 0;
        quiet |= ecgmoe_lead_is_quiet_beside(&panel->leads[k], shown) ? 1u << k : 0;
    }
    return with_ecg ? with_ecg : quiet ? quiet : possible->voting;
}

/*
 * It is taken from the first lead that shows the beat about as clearly as the clearest lead, and moved by the usual
 * difference between the R peaks of this lead and those of lead 0.
 */
int64_t ecgmoe_panel_locate(ecgmoe_lead_panel *panel, const ecgmoe_possible_beat *possible, int *first) {
    *first = 0;
    if (panel->n_leads > 1) {
        const unsigned likely = likely_leads(panel, possible);
        ecgmoe_real clearest = 0;
        for (int k = 0; k < panel->n_leads; k++) {
            if (likely >> k & 1u) {
                clearest = ecgmoe_max(clearest, ecgmoe_lead_weight(&panel->leads[k]));
            }
        }
        const ecgmoe_real clear_enough = panel->constants->as_clear * clearest;
        while (!(likely >> *first & 1u) || ecgmoe_lead_weight(&panel->leads[*first]) < clear_enough) {
            (*first)++;
        }
    }
    const int64_t shift = *first ? ecgmoe_lead_common_shift(&panel->leads[*first]) : 0;
    return ecgmoe_candidate_sample(ecgmoe_panel_shown(panel, possible, *first)) + shift;
}

ecgmoe_real ecgmoe_panel_recurrence(const ecgmoe_lead_panel *panel, const ecgmoe_possible_beat *possible) {
    ecgmoe_real highest = ECGMOE_NONE_REAL;
    for (int k = 0; k < panel->n_leads; k++) {
        const ecgmoe_candidate *const shown = ecgmoe_panel_shown(panel, possible, k);
        if (shown == NULL || !(possible->voting >> k & 1u)) {
            continue;
        }
        const ecgmoe_real recurrence = ecgmoe_rater_recurrence(&panel->leads[k].rater, shown);
        if (!ecgmoe_is_none(recurrence) && !(recurrence <= highest)) { /* also if `highest` is none */
            highest = recurrence;
        }
    }
    return highest;
}

void ecgmoe_panel_find_no_ecg(ecgmoe_lead_panel *panel, int lead) {
    ecgmoe_lead_find_no_ecg(&panel->leads[lead]);
    for (int k = 0; k < panel->n_leads; k++) {
        ecgmoe_lead_forget_shift(&panel->leads[k]);
    }
}

/* Let leads vote that have shown an ECG; others only while no lead has shown one. */
static void update_votes(ecgmoe_lead_panel *panel) {
    int with_ecg = 0;
    for (int k = 0; k < panel->n_leads; k++) {
        with_ecg += panel->leads[k].present && panel->leads[k].has_ecg;
    }
    for (int k = 0; k < panel->n_leads; k++) {
        const ecgmoe_lead_memory *const lead = &panel->leads[k];
        if (lead->present && lead->has_ecg && lead->ecg_credit == 0 && with_ecg > 1) {
            with_ecg--; /* it no longer shows beats that other leads show */
            ecgmoe_panel_find_no_ecg(panel, k);
        }
    }
    for (int k = 0; k < panel->n_leads; k++) {
        ecgmoe_lead_memory *const lead = &panel->leads[k];
        if (lead->present && !lead->learning) {
            lead->votes = lead->has_ecg || with_ecg == 0 || (lead->votes && !lead->no_ecg);
        }
    }
}

bool ecgmoe_panel_status(ecgmoe_lead_panel *panel, int64_t arrived, bool broken, ecgmoe_lead_status *status) {
    update_votes(panel);
    memset(status, 0, sizeof *status);
    unsigned voting = 0, with_ecg = 0, clear = 0;
    for (int k = 0; k < panel->n_leads; k++) {
        const ecgmoe_lead_memory *const lead = &panel->leads[k];
        if (lead->votes) {
            voting |= 1u << k;
            with_ecg |= lead->has_ecg ? 1u << k : 0;
            clear |= (panel->n_leads == 1 || !lead->noisy) && !lead->no_ecg ? 1u << k : 0;
        }
        if (!(clear >> k & 1u)) {
            status->reasons[k] = (uint8_t)(lead->votes && !lead->no_ecg ? ECGMOE_LEAD_NOISE : lead->reason);
        }
    }
    const unsigned used = with_ecg ? with_ecg : voting;
    for (int pass = 0; pass < 2; pass++) { /* the clear ones first */
        const unsigned wanted = pass ? used & ~clear : used & clear;
        for (int k = 0; k < panel->n_leads; k++) {
            if (wanted >> k & 1u) {
                status->order[status->n_order++] = (int8_t)k;
            }
        }
    }
    status->clear = (uint8_t)clear;
    const bool is_same = status->n_order == panel->status.n_order && status->clear == panel->status.clear &&
                         memcmp(status->order, panel->status.order, sizeof status->order) == 0 &&
                         memcmp(status->reasons, panel->status.reasons, sizeof status->reasons) == 0;
    if (is_same && !broken) {
        return false;
    }
    panel->status = *status;
    status->known_at = arrived;
    status->broken = broken;
    return true;
}

int ecgmoe_panel_next_ecg_deadline(const ecgmoe_lead_panel *panel) {
    int next = -1;
    for (int k = 0; k < panel->n_leads; k++) {
        const ecgmoe_lead_memory *const lead = &panel->leads[k];
        if (lead->present && !lead->has_ecg && !lead->no_ecg &&
            (next < 0 || lead->ecg_deadline < panel->leads[next].ecg_deadline)) {
            next = k;
        }
    }
    return next;
}

int ecgmoe_panel_next_learning_end(const ecgmoe_lead_panel *panel) {
    int next = -1;
    for (int k = 0; panel->n_leads > 1 && k < panel->n_leads; k++) {
        const ecgmoe_lead_memory *const lead = &panel->leads[k];
        if (lead->present && !lead->votes && lead->learning &&
            (next < 0 || lead->learning_end < panel->leads[next].learning_end)) {
            next = k;
        }
    }
    return next;
}

#include <string.h>

#include "ecgmoe_detector_parts.h"

void ecgmoe_detector_init(
    ecgmoe_detector *d, const ecgmoe_detector_constants *constants, int n_leads, ecgmoe_detector_sink sink) {
    memset(d, 0, sizeof *d);
    d->constants = constants;
    d->sink = sink;
    ecgmoe_panel_init(&d->panel, &constants->panel, &constants->lead, &constants->rating, n_leads);
    ecgmoe_timing_init(&d->timing, &constants->rating);
    for (int k = 0; k < ECGMOE_POSSIBLE_BEATS; k++) {
        d->free[d->n_free++] = (uint8_t)k;
    }
    ecgmoe_detector_restart(d);
}

/* Begin a new chain of beats at sample `at`; all leads that are present vote once their level is learnt. */
static void begin(ecgmoe_detector *d, int64_t at) {
    d->began = d->now = d->silent_since = at;
    d->learning_due = ECGMOE_NEVER;
    for (int k = 0; k < d->panel.n_leads; k++) {
        ecgmoe_lead_memory *const lead = &d->panel.leads[k];
        if (lead->present) {
            lead->votes = lead->learning = true;
            d->learning_due = at + d->constants->learning_for;
        }
    }
    ecgmoe_timing_restart(&d->timing);
    while (d->n_open > 0) {
        ecgmoe_detector_forget(d, d->open[--d->n_open]);
    }
    while (d->n_rejected > 0) {
        ecgmoe_detector_forget(d, d->rejected[--d->n_rejected]);
    }
    d->searched = d->silences = 0;
    d->last_sample = ECGMOE_NO_SAMPLE;
}

/* Decide on all possible beats, since the signal has ended. */
static void decide_all(ecgmoe_detector *d, int64_t now) {
    while (d->n_open > 0) {
        int earliest = d->open[0];
        for (int k = 1; k < d->n_open; k++) {
            if (ecgmoe_detector_beat(d, d->open[k])->at < ecgmoe_detector_beat(d, earliest)->at) {
                earliest = d->open[k];
            }
        }
        if (ecgmoe_detector_examine(d, earliest, now)) {
            ecgmoe_detector_decide(d, earliest, now, true);
        }
        ecgmoe_detector_examine_again(d, now);
    }
}

static void finish_learning(ecgmoe_detector *d, int64_t now) {
    d->learning_due = ECGMOE_NEVER;
    for (int k = 0; k < d->panel.n_leads; k++) {
        ecgmoe_lead_memory *const lead = &d->panel.leads[k];
        if (!lead->votes || !lead->learning) {
            continue;
        }
        ecgmoe_lead_learn(lead, ECGMOE_PLACE_LEARNING);
        for (int place = 0; place < ECGMOE_LEAD_CANDIDATES; place++) {
            if (lead->places[place] == ECGMOE_PLACE_LEARNING) {
                lead->places[place] = ECGMOE_PLACE_AGAIN;
            }
        }
    }
    ecgmoe_detector_report_status(d, now, false);
    d->level = 1;
    ecgmoe_detector_examine_again(d, now);
}

/* -- what becomes due with time */

static int64_t silence_due(const ecgmoe_detector *d) {
    bool votes = false;
    for (int k = 0; k < d->panel.n_leads; k++) {
        votes = votes || d->panel.leads[k].votes;
    }
    return votes && d->learning_due == ECGMOE_NEVER ? d->silent_since + d->constants->silence + 1 : ECGMOE_NEVER;
}

static int64_t search_back_due(const ecgmoe_detector *d) {
    const ecgmoe_detector_constants *const c = d->constants;
    if (!ecgmoe_is_sample(d->timing.last_at) || ecgmoe_is_none(d->timing.rr_s) || d->searched >= d->n_rejected) {
        return ECGMOE_NEVER;
    }
    /* A possible beat that is rejected after this time is searched as soon as the energy after it is known. */
    const ecgmoe_possible_beat *const next = &d->beats[d->rejected[d->searched]];
    const int64_t wait = (int64_t)ecgmoe_rint(c->search_back_rr * d->timing.rr_s * c->fs);
    return ecgmoe_max_i64(d->timing.last_at + c->reach + wait + 1, ecgmoe_possible_settled_at(next));
}

static void update_due(ecgmoe_detector *d) {
    int64_t due = d->learning_due;
    const int learning = ecgmoe_panel_next_learning_end(&d->panel);
    const int undecided = ecgmoe_panel_next_ecg_deadline(&d->panel);
    if (learning >= 0) {
        due = ecgmoe_min_i64(due, d->panel.leads[learning].learning_end);
    }
    if (undecided >= 0) {
        due = ecgmoe_min_i64(due, d->panel.leads[undecided].ecg_deadline);
    }
    for (int k = 0; k < d->n_open; k++) {
        due = ecgmoe_min_i64(due, ecgmoe_detector_beat(d, d->open[k])->examine_at);
    }
    if (d->n_open == 0) { /* search-back and silence wait until all possible beats are decided */
        const int64_t next = ecgmoe_min_i64(search_back_due(d), silence_due(d));
        due = ecgmoe_min_i64(due, ecgmoe_max_i64(d->now, next));
    }
    d->due = due;
}

/* Accept the most likely possible beat that was rejected since the last beat, if it is likely enough. */
static void search_back(ecgmoe_detector *d, int64_t now) {
    const int64_t due = search_back_due(d);
    ecgmoe_real highest = -ECGMOE_INFINITY;
    int best = ECGMOE_NO_BEAT, settled = 0;
    for (int k = 0; k < d->n_rejected; k++) {
        const ecgmoe_possible_beat *const possible = ecgmoe_detector_beat(d, d->rejected[k]);
        if (ecgmoe_possible_settled_at(possible) > due) {
            continue;
        }
        if (settled++ < d->searched || ecgmoe_detector_is_echo(d, possible) || ecgmoe_panel_is_weak(&d->panel, possible)) {
            continue;
        }
        const ecgmoe_real log_odds = ecgmoe_panel_log_odds(&d->panel, possible, &d->timing, now, true);
        if (log_odds > highest) {
            highest = log_odds;
            best = d->rejected[k];
        }
    }
    d->searched = (uint8_t)settled;
    if (highest > d->constants->search_back_log_odds) {
        ecgmoe_detector_accept(d, best, now, highest, true);
    }
}

/* Examine the open possible beat that is next, after a decision on those before it. */
static void examine_next(ecgmoe_detector *d, int64_t now) {
    int next = d->open[0];
    for (int k = 1; k < d->n_open; k++) {
        const ecgmoe_possible_beat *const one = ecgmoe_detector_beat(d, d->open[k]), *const other = ecgmoe_detector_beat(d, next);
        if (one->examine_at < other->examine_at || (one->examine_at == other->examine_at && one->at < other->at)) {
            next = d->open[k];
        }
    }
    ecgmoe_detector_mark_complete(d, ecgmoe_detector_beat(d, next)->at - 1 + d->constants->same_beat); /* those before it */
    for (int earlier = ecgmoe_detector_next_marked(d); earlier != ECGMOE_NO_BEAT; earlier = ecgmoe_detector_next_marked(d)) {
        ecgmoe_detector_decide(d, earlier, now, now >= ecgmoe_possible_settled_at(ecgmoe_detector_beat(d, earlier)));
        ecgmoe_detector_examine_again(d, now);
    }
    ecgmoe_detector_examine(d, next, now);
    ecgmoe_detector_examine_again(d, now);
}

/* End the first two seconds of a lead that began while others were present. */
static void finish_lead_learning(ecgmoe_detector *d, ecgmoe_lead_memory *lead, int64_t now) {
    if (ecgmoe_lead_count(lead, ECGMOE_PLACE_LEARNING) == 0) {
        lead->learning_end = now + d->constants->learning_for;
        return;
    }
    ecgmoe_lead_learn(lead, ECGMOE_PLACE_LEARNING);
    for (int place = 0; place < ECGMOE_LEAD_CANDIDATES; place++) {
        if (lead->places[place] == ECGMOE_PLACE_LEARNING) {
            lead->places[place] = ECGMOE_PLACE_FREE;
        }
    }
    ecgmoe_detector_report_status(d, now, false);
}

/* Decide whether a lead shows no ECG; if it begins to show one, of a slow heart, it gets more time. */
static void check_ecg(ecgmoe_detector *d, int lead, int64_t now) {
    if (d->panel.leads[lead].ecg_credit > 0) {
        d->panel.leads[lead].ecg_deadline = now + d->constants->ecg_within;
        return;
    }
    ecgmoe_panel_find_no_ecg(&d->panel, lead);
    ecgmoe_detector_report_status(d, now, false);
}

/* Take the action that is due at `now`, in the order that detector.py states. */
static void act(ecgmoe_detector *d, int64_t now) {
    const int learning = ecgmoe_panel_next_learning_end(&d->panel);
    const int undecided = ecgmoe_panel_next_ecg_deadline(&d->panel);
    if (now == d->learning_due) {
        finish_learning(d, now);
    } else if (learning >= 0 && now == d->panel.leads[learning].learning_end) {
        finish_lead_learning(d, &d->panel.leads[learning], now);
    } else if (undecided >= 0 && now == d->panel.leads[undecided].ecg_deadline) {
        check_ecg(d, undecided, now);
    } else if (d->n_open > 0) {
        examine_next(d, now);
    } else if (search_back_due(d) <= silence_due(d)) {
        search_back(d, now);
    } else {
        d->silent_since = silence_due(d);
        if (d->silences < d->constants->most_silences) {
            d->silences++;
        }
        ecgmoe_detector_learn_again(d, true);
        ecgmoe_detector_examine_again(d, now);
    }
}

void ecgmoe_detector_run_clock(ecgmoe_detector *d, int64_t arrived) {
    while (d->due <= arrived) {
        d->now = d->due;
        act(d, d->now);
        update_due(d);
    }
}

/* -- reports of the leads */

void ecgmoe_detector_restart(ecgmoe_detector *d) {
    ecgmoe_panel_restart(&d->panel);
    begin(d, 0);
    update_due(d);
}

void ecgmoe_detector_settle(ecgmoe_detector *d, int lead, const ecgmoe_following *settled) {
    ecgmoe_lead_memory *const memory = &d->panel.leads[lead];
    for (int place = 0; place < ECGMOE_LEAD_CANDIDATES; place++) {
        ecgmoe_candidate *const candidate = &memory->candidates[place];
        if (memory->places[place] != ECGMOE_PLACE_FREE && candidate->at == settled->at) {
            candidate->following = settled->following;
            candidate->settled_after = settled->settled_after;
        }
    }
}

void ecgmoe_detector_candidate(ecgmoe_detector *d, int k, const ecgmoe_candidate *candidate) {
    ecgmoe_lead_memory *const lead = &d->panel.leads[k];
    const int64_t known_at = ecgmoe_candidate_known_at(candidate);
    ecgmoe_detector_run(d, known_at);
    const bool learning = lead->learning;
    int place = ecgmoe_lead_keep(lead, candidate, learning ? ECGMOE_PLACE_LEARNING : ECGMOE_PLACE_IN_BEAT);
    if (place == ECGMOE_NO_PLACE && d->n_rejected > 0) { /* see ECGMOE_LEAD_CANDIDATES: there is always room */
        ecgmoe_detector_forget_oldest(d);
        place = ecgmoe_lead_keep(lead, candidate, learning ? ECGMOE_PLACE_LEARNING : ECGMOE_PLACE_IN_BEAT);
    }
    if (place != ECGMOE_NO_PLACE && !learning) {
        ecgmoe_detector_group(d, k, place, known_at);
    }
    update_due(d);
}

void ecgmoe_detector_end_lead(ecgmoe_detector *d, int k, int64_t known_at, ecgmoe_lead_reason reason) {
    ecgmoe_lead_memory *const lead = &d->panel.leads[k];
    ecgmoe_detector_run(d, known_at - 1);
    bool last = lead->votes;
    for (int other = 0; other < d->panel.n_leads; other++) {
        last = last && (other == k || !d->panel.leads[other].votes);
    }
    if (last) {
        if (d->learning_due != ECGMOE_NEVER) {
            finish_learning(d, known_at);
        }
        decide_all(d, known_at);
    }
    lead->present = lead->votes = false;
    /* Samples are missing; for any other reason the electrode may be off. */
    lead->has_ecg = lead->has_ecg && (reason == ECGMOE_LEAD_NAN || reason == ECGMOE_LEAD_RANGE);
    lead->reason = (uint8_t)reason;
    if (last) {
        begin(d, known_at);
    }
    ecgmoe_detector_report_status(d, known_at, last);
    update_due(d);
}

void ecgmoe_detector_begin_lead(ecgmoe_detector *d, int k, int64_t at) {
    ecgmoe_lead_memory *const lead = &d->panel.leads[k];
    const int64_t learning_end = at + d->constants->learning_for;
    ecgmoe_detector_run(d, at);
    ecgmoe_lead_begin(lead, learning_end);
    lead->present = true;
    lead->reason = ECGMOE_LEAD_SETTLING;
    lead->ecg_deadline = at + d->constants->ecg_within;
    bool alone = true;
    for (int other = 0; other < d->panel.n_leads; other++) {
        alone = alone && !d->panel.leads[other].votes;
    }
    if (alone || d->learning_due == learning_end) {
        begin(d, at);
    }
    update_due(d);
}

void ecgmoe_detector_flush(ecgmoe_detector *d, int64_t arrived) {
    if (d->learning_due != ECGMOE_NEVER) {
        finish_learning(d, arrived);
    }
    decide_all(d, arrived);
    update_due(d);
}

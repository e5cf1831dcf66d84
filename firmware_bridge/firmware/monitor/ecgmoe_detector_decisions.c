#include <string.h>

#include "ecgmoe_detector_parts.h"

/* -- lists of possible beats */

static void remove_at(uint8_t *list, uint8_t *count, int position) {
    (*count)--;
    memmove(list + position, list + position + 1, (size_t)(*count - position));
}

static int position_of(const uint8_t *list, int count, int index) {
    int position = 0;
    while (position < count && list[position] != index) {
        position++;
    }
    return position;
}

/* Set what the candidates of a possible beat are used for from now on. */
static void use_candidates(ecgmoe_detector *d, const ecgmoe_possible_beat *possible, uint8_t use) {
    for (int k = 0; k < d->panel.n_leads; k++) {
        if (possible->shown[k] != ECGMOE_NO_PLACE) {
            d->panel.leads[k].places[possible->shown[k]] = use;
        }
    }
}

/* Forget a possible beat that is in no list any more, with its candidates. */
void ecgmoe_detector_forget(ecgmoe_detector *d, int index) {
    use_candidates(d, ecgmoe_detector_beat(d, index), ECGMOE_PLACE_FREE);
    d->free[d->n_free++] = (uint8_t)index;
}

static void remove_open(ecgmoe_detector *d, int index) {
    remove_at(d->open, &d->n_open, position_of(d->open, d->n_open, index));
}

void ecgmoe_detector_forget_oldest(ecgmoe_detector *d) {
    ecgmoe_detector_forget(d, d->rejected[0]);
    remove_at(d->rejected, &d->n_rejected, 0);
    d->searched = (uint8_t)(d->searched ? d->searched - 1 : 0);
}

/* -- output */

void ecgmoe_detector_report_status(ecgmoe_detector *d, int64_t now, bool broken) {
    ecgmoe_detector_output output = {.kind = ECGMOE_DETECTOR_STATUS};
    if (ecgmoe_panel_status(&d->panel, now, broken, &output.of.status)) {
        d->sink.take(d->sink.context, &output);
    }
}

/* Accept a possible beat; unless it is a rejected one that search-back has found, it is in no list. */
void ecgmoe_detector_accept(ecgmoe_detector *d, int index, int64_t now, ecgmoe_real log_odds, bool search_back) {
    const ecgmoe_possible_beat *const possible = ecgmoe_detector_beat(d, index);
    const int64_t at = possible->at;
    int first;
    const int64_t sample = ecgmoe_panel_locate(&d->panel, possible, &first);
    if (ecgmoe_is_sample(d->last_sample) && sample - d->last_sample < d->constants->least_rr) {
        if (!search_back) {
            ecgmoe_detector_forget(d, index);
        }
        return;
    }
    ecgmoe_accepted_beat beat = {.at = at, .sample = ECGMOE_NO_SAMPLE, .rr_s = ECGMOE_NONE_REAL};
    if (ecgmoe_is_sample(d->timing.last_at)) {
        beat.rr_s = (ecgmoe_real)(at - d->timing.last_at) / d->constants->fs;
    }
    if (d->panel.leads[first].has_ecg) {
        beat.sample = sample;
    }
    ecgmoe_timing_accept(&d->timing, at);
    const ecgmoe_real recurrence = ecgmoe_panel_recurrence(&d->panel, possible);
    unsigned with_ecg = 0;
    for (int k = 0; k < d->panel.n_leads; k++) {
        with_ecg |= possible->shown[k] != ECGMOE_NO_PLACE && d->panel.leads[k].has_ecg ? 1u << k : 0;
    }
    for (int k = 0; k < d->panel.n_leads; k++) {
        ecgmoe_lead_memory *const lead = &d->panel.leads[k];
        const ecgmoe_candidate *const shown = ecgmoe_panel_shown(&d->panel, possible, k);
        if (lead->learning) {
            continue;
        }
        beat.confirmed = (with_ecg & ~(1u << k)) != 0;
        if (shown == NULL && lead->present && !lead->votes) {
            ecgmoe_lead_accept_without_vote(lead, &beat, d->constants->same_beat);
        } else if (lead->present || shown != NULL) {
            ecgmoe_lead_accept(lead, &beat, shown);
        }
    }
    if (!search_back) {
        ecgmoe_detector_forget(d, index);
    }
    for (int k = 0; k < d->n_rejected;) {
        if (ecgmoe_detector_beat(d, d->rejected[k])->at > at) {
            k++;
        } else {
            ecgmoe_detector_forget(d, d->rejected[k]);
            remove_at(d->rejected, &d->n_rejected, k);
        }
    }
    d->searched = d->silences = 0;
    d->last_sample = sample;
    d->silent_since = at;
    const ecgmoe_detector_output output = {
        .kind = ECGMOE_DETECTOR_RPEAK,
        .of.rpeak =
            {.sample = sample, .known_at = now, .log_odds = log_odds, .recurrence = recurrence, .search_back = search_back},
    };
    d->sink.take(d->sink.context, &output);
    ecgmoe_detector_report_status(d, now, false);
}

/* -- decision on a possible beat */

/* Whether the last beat is too close. */
bool ecgmoe_detector_is_echo(const ecgmoe_detector *d, const ecgmoe_possible_beat *possible) {
    return ecgmoe_is_sample(d->timing.last_at) && possible->at - d->timing.last_at < d->constants->refractory;
}

/* Reject a possible beat that is in no list. */
static void reject(ecgmoe_detector *d, int index) {
    const ecgmoe_possible_beat *const possible = ecgmoe_detector_beat(d, index);
    for (int k = 0; k < d->panel.n_leads; k++) {
        const ecgmoe_candidate *const shown = ecgmoe_panel_shown(&d->panel, possible, k);
        if (shown != NULL) {
            ecgmoe_lead_reject(&d->panel.leads[k], shown);
        }
    }
    if (d->n_rejected == ECGMOE_MOST_REJECTED) {
        ecgmoe_detector_forget_oldest(d);
    }
    d->rejected[d->n_rejected++] = (uint8_t)index;
}

/*
 * Learn the levels from rejected candidates, after a silence that is too long for a pause. These candidates are then to be
 * examined again, by `ecgmoe_detector_examine_again`: on a deeper level, if past candidates are being examined again at present.
 * only_alike: only if some lead has shown one waveform twice; else it may be noise in an asystole.
 */
void ecgmoe_detector_learn_again(ecgmoe_detector *d, bool only_alike) {
    if (d->level + 1 >= ECGMOE_MOST_LEVELS) {
        return; /* never seen; each level has fewer candidates than the one above */
    }
    const uint8_t again = (uint8_t)(ECGMOE_PLACE_AGAIN + d->level);
    for (int k = 0; k < d->n_rejected; k++) {
        use_candidates(d, ecgmoe_detector_beat(d, d->rejected[k]), again);
    }
    bool has_one_waveform = !only_alike;
    for (int k = 0; k < d->panel.n_leads && !has_one_waveform; k++) {
        const ecgmoe_lead_memory *const lead = &d->panel.leads[k];
        has_one_waveform = lead->votes && ecgmoe_lead_has_one_waveform(lead, again);
    }
    if (!has_one_waveform) {
        for (int k = 0; k < d->n_rejected; k++) {
            use_candidates(d, ecgmoe_detector_beat(d, d->rejected[k]), ECGMOE_PLACE_IN_BEAT);
        }
        return;
    }
    while (d->n_rejected > 0) {
        d->free[d->n_free++] = d->rejected[--d->n_rejected];
    }
    d->searched = 0;
    for (int k = 0; k < d->panel.n_leads; k++) {
        if (d->panel.leads[k].votes) {
            ecgmoe_lead_learn_again(&d->panel.leads[k], again);
        }
    }
    d->level++;
}

/* The level of some leads (bits) was learnt from noise. */
static void forget_level(ecgmoe_detector *d, unsigned wrong, int64_t now) {
    bool in_all = true;
    for (int k = 0; k < d->panel.n_leads; k++) {
        if (wrong >> k & 1u) {
            ecgmoe_rater_restart(&d->panel.leads[k].rater);
        } else {
            in_all = in_all && !d->panel.leads[k].votes;
        }
    }
    if (in_all) {
        ecgmoe_timing_restart(&d->timing);
    }
    d->silent_since = now;
    ecgmoe_detector_learn_again(d, false);
}

/*
 * Accept or reject an open possible beat now. It may turn out that past candidates must be examined again; the caller
 * then calls `ecgmoe_detector_examine_again`. settled: the energy after the beat is known, or no more of it will be known.
 */
void ecgmoe_detector_decide(ecgmoe_detector *d, int index, int64_t now, bool settled) {
    const ecgmoe_possible_beat *const possible = ecgmoe_detector_beat(d, index);
    remove_open(d, index);
    if (ecgmoe_detector_is_echo(d, possible)) {
        reject(d, index);
        return;
    }
    const ecgmoe_real log_odds = ecgmoe_panel_log_odds(&d->panel, possible, &d->timing, now, settled);
    if (log_odds > -d->constants->silence_log_odds * (ecgmoe_real)d->silences) {
        ecgmoe_detector_accept(d, index, now, log_odds, false);
        return;
    }
    reject(d, index);
    unsigned wrong = 0;
    for (int k = 0; k < d->panel.n_leads; k++) {
        const ecgmoe_candidate *const shown = ecgmoe_panel_shown(&d->panel, possible, k);
        ecgmoe_lead_memory *const lead = &d->panel.leads[k];
        /* A lead that does not vote learns from the beats of the others; its rejected candidates are not examined again. */
        wrong |= shown != NULL && ecgmoe_lead_has_wrong_level(lead, shown) && lead->votes ? 1u << k : 0;
    }
    if (wrong) {
        forget_level(d, wrong, now);
    }
}

/*
 * Accept an open possible beat if it certainly is one, reject it if it certainly is none, else let it wait. Returns whether
 * it is still open. As after `ecgmoe_detector_decide`, past candidates may have to be examined again.
 */
bool ecgmoe_detector_examine(ecgmoe_detector *d, int index, int64_t now) {
    ecgmoe_possible_beat *const possible = ecgmoe_detector_beat(d, index);
    if (!possible->waits) {
        if (ecgmoe_detector_is_echo(d, possible) || ecgmoe_panel_is_weak(&d->panel, possible)) {
            remove_open(d, index);
            reject(d, index);
            return false;
        }
        const ecgmoe_real log_odds = ecgmoe_panel_log_odds(&d->panel, possible, &d->timing, now, false);
        if (log_odds > d->constants->sure - d->constants->silence_log_odds * (ecgmoe_real)d->silences) {
            remove_open(d, index);
            ecgmoe_detector_accept(d, index, now, log_odds, false);
            return false;
        }
        if (now < ecgmoe_possible_settled_at(possible)) {
            possible->waits = true;
            possible->examine_at = ecgmoe_possible_settled_at(possible);
            return true;
        }
    }
    ecgmoe_detector_decide(d, index, now, true);
    return false;
}

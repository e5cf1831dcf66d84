#include "ecgmoe_detector.h"

#include <string.h>

#define NONE 255 /* index of no possible beat */

static ecgmoe_possible_beat *beat_of(ecgmoe_detector *d, int index) {
    return &d->beats[index];
}

static bool is_known(int64_t sample) {
    return sample != ECGMOE_NO_SAMPLE;
}

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
static void forget(ecgmoe_detector *d, int index) {
    use_candidates(d, beat_of(d, index), ECGMOE_PLACE_FREE);
    d->free[d->n_free++] = (uint8_t)index;
}

static void remove_open(ecgmoe_detector *d, int index) {
    remove_at(d->open, &d->n_open, position_of(d->open, d->n_open, index));
}

static void forget_oldest_rejected(ecgmoe_detector *d) {
    forget(d, d->rejected[0]);
    remove_at(d->rejected, &d->n_rejected, 0);
    d->searched = (uint8_t)(d->searched ? d->searched - 1 : 0);
}

/* -- begin */

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
        forget(d, d->open[--d->n_open]);
    }
    while (d->n_rejected > 0) {
        forget(d, d->rejected[--d->n_rejected]);
    }
    d->searched = d->silences = 0;
    d->last_sample = ECGMOE_NO_SAMPLE;
}

/* -- output */

static void report_status(ecgmoe_detector *d, int64_t now, bool broken) {
    ecgmoe_detector_output output = {.kind = ECGMOE_DETECTOR_STATUS};
    if (ecgmoe_panel_status(&d->panel, now, broken, &output.of.status)) {
        d->sink.take(d->sink.context, &output);
    }
}

/* Accept a possible beat; unless it is a rejected one that search-back has found, it is in no list. */
static void accept(ecgmoe_detector *d, int index, int64_t now, ecgmoe_real log_odds, bool search_back) {
    const ecgmoe_possible_beat *const possible = beat_of(d, index);
    const int64_t at = possible->at;
    int first;
    const int64_t sample = ecgmoe_panel_locate(&d->panel, possible, &first);
    if (is_known(d->last_sample) && sample - d->last_sample < d->constants->least_rr) {
        if (!search_back) {
            forget(d, index);
        }
        return;
    }
    ecgmoe_accepted_beat beat = {.at = at, .sample = ECGMOE_NO_SAMPLE, .rr_s = ECGMOE_NONE_REAL};
    if (is_known(d->timing.last_at)) {
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
        forget(d, index);
    }
    for (int k = 0; k < d->n_rejected;) {
        if (beat_of(d, d->rejected[k])->at > at) {
            k++;
        } else {
            forget(d, d->rejected[k]);
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
    report_status(d, now, false);
}

/* -- decision on a possible beat */

/* Whether the last beat is too close. */
static bool is_echo(const ecgmoe_detector *d, const ecgmoe_possible_beat *possible) {
    return is_known(d->timing.last_at) && possible->at - d->timing.last_at < d->constants->refractory;
}

/* Reject a possible beat that is in no list. */
static void reject(ecgmoe_detector *d, int index) {
    const ecgmoe_possible_beat *const possible = beat_of(d, index);
    for (int k = 0; k < d->panel.n_leads; k++) {
        const ecgmoe_candidate *const shown = ecgmoe_panel_shown(&d->panel, possible, k);
        if (shown != NULL) {
            ecgmoe_lead_reject(&d->panel.leads[k], shown);
        }
    }
    if (d->n_rejected == ECGMOE_MOST_REJECTED) {
        forget_oldest_rejected(d);
    }
    d->rejected[d->n_rejected++] = (uint8_t)index;
}

/*
 * Learn the levels from rejected candidates, after a silence that is too long for a pause. These candidates are then to be
 * examined again, by `examine_again`: on a deeper level, if past candidates are being examined again at present.
 * only_alike: only if some lead has shown one waveform twice; else it may be noise in an asystole.
 */
static void learn_again(ecgmoe_detector *d, bool only_alike) {
    if (d->level + 1 >= ECGMOE_MOST_LEVELS) {
        return; /* never seen; each level has fewer candidates than the one above */
    }
    const uint8_t again = (uint8_t)(ECGMOE_PLACE_AGAIN + d->level);
    for (int k = 0; k < d->n_rejected; k++) {
        use_candidates(d, beat_of(d, d->rejected[k]), again);
    }
    bool has_one_waveform = !only_alike;
    for (int k = 0; k < d->panel.n_leads && !has_one_waveform; k++) {
        const ecgmoe_lead_memory *const lead = &d->panel.leads[k];
        has_one_waveform = lead->votes && ecgmoe_lead_has_one_waveform(lead, again);
    }
    if (!has_one_waveform) {
        for (int k = 0; k < d->n_rejected; k++) {
            use_candidates(d, beat_of(d, d->rejected[k]), ECGMOE_PLACE_IN_BEAT);
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
    learn_again(d, false);
}

/*
 * Accept or reject an open possible beat now. It may turn out that past candidates must be examined again; the caller
 * then calls `examine_again`. settled: the energy after the beat is known, or no more of it will be known.
 */
static void decide(ecgmoe_detector *d, int index, int64_t now, bool settled) {
    const ecgmoe_possible_beat *const possible = beat_of(d, index);
    remove_open(d, index);
    if (is_echo(d, possible)) {
        reject(d, index);
        return;
    }
    const ecgmoe_real log_odds = ecgmoe_panel_log_odds(&d->panel, possible, &d->timing, settled);
    if (log_odds > -d->constants->silence_log_odds * (ecgmoe_real)d->silences) {
        accept(d, index, now, log_odds, false);
        return;
    }
    reject(d, index);
    unsigned wrong = 0;
    for (int k = 0; k < d->panel.n_leads; k++) {
        const ecgmoe_candidate *const shown = ecgmoe_panel_shown(&d->panel, possible, k);
        wrong |= shown != NULL && ecgmoe_lead_has_wrong_level(&d->panel.leads[k], shown) ? 1u << k : 0;
    }
    if (wrong) {
        forget_level(d, wrong, now);
    }
}

/*
 * Accept an open possible beat if it certainly is one, reject it if it certainly is none, else let it wait. Returns whether
 * it is still open. As after `decide`, past candidates may have to be examined again.
 */
static bool examine(ecgmoe_detector *d, int index, int64_t now) {
    ecgmoe_possible_beat *const possible = beat_of(d, index);
    if (!possible->waits) {
        if (is_echo(d, possible) || ecgmoe_panel_is_weak(&d->panel, possible)) {
            remove_open(d, index);
            reject(d, index);
            return false;
        }
        const ecgmoe_real log_odds = ecgmoe_panel_log_odds(&d->panel, possible, &d->timing, false);
        if (log_odds > d->constants->sure - d->constants->silence_log_odds * (ecgmoe_real)d->silences) {
            remove_open(d, index);
            accept(d, index, now, log_odds, false);
            return false;
        }
        if (now < ecgmoe_possible_settled_at(possible)) {
            possible->waits = true;
            possible->examine_at = ecgmoe_possible_settled_at(possible);
            return true;
        }
    }
    decide(d, index, now, true);
    return false;
}

/* -- candidates */

/* The open possible beat of the present level that a candidate belongs to; NONE if there is none. */
static int nearest_open(ecgmoe_detector *d, int lead, int64_t at) {
    int nearest = NONE;
    int64_t smallest = d->constants->same_beat;
    for (int k = 0; k < d->n_open && d->panel.n_leads > 1; k++) {
        const ecgmoe_possible_beat *const possible = beat_of(d, d->open[k]);
        const int64_t apart = possible->at > at ? possible->at - at : at - possible->at;
        if (possible->level == d->level && possible->shown[lead] == ECGMOE_NO_PLACE && apart < smallest) {
            nearest = d->open[k];
            smallest = apart;
        }
    }
    return nearest;
}

static int add_open(ecgmoe_detector *d, int64_t at, int64_t examine_at) {
    if (d->n_free == 0) {
        if (d->n_rejected == 0) {
            return NONE;
        }
        forget_oldest_rejected(d); /* see ECGMOE_POSSIBLE_BEATS: there is always room */
    }
    const int index = d->free[--d->n_free];
    ecgmoe_possible_beat *const possible = beat_of(d, index);
    memset(possible, 0, sizeof *possible);
    memset(possible->shown, ECGMOE_NO_PLACE, sizeof possible->shown);
    possible->at = at;
    possible->examine_at = examine_at;
    possible->level = d->level;
    d->open[d->n_open++] = (uint8_t)index;
    return index;
}

/* Add the candidate in a place of a lead to the possible beat that it belongs to, or to a new one. */
static void group(ecgmoe_detector *d, int k, int place, int64_t arrived) {
    ecgmoe_lead_memory *const lead = &d->panel.leads[k];
    const ecgmoe_candidate *const shown = &lead->candidates[place];
    const int64_t settled_at = ecgmoe_candidate_settled_at(shown);
    int index = nearest_open(d, k, shown->at);
    if (index == NONE) {
        if (!lead->votes) {
            ecgmoe_lead_note_stray(lead, place, d->constants->same_beat);
            return;
        }
        index = add_open(d, shown->at, arrived + d->constants->same_beat);
        if (index == NONE) {
            lead->places[place] = ECGMOE_PLACE_FREE;
            return;
        }
    }
    ecgmoe_possible_beat *const possible = beat_of(d, index);
    possible->shown[k] = (int8_t)place;
    possible->voting |= (uint8_t)(lead->votes ? 1u << k : 0);
    lead->places[place] = ECGMOE_PLACE_IN_BEAT;
    possible->settled_after = (int16_t)ecgmoe_max_i64(possible->settled_after, settled_at - possible->at);
    bool in_all = true;
    for (int other = 0; other < d->panel.n_leads; other++) {
        in_all = in_all && (!d->panel.leads[other].votes || possible->shown[other] != ECGMOE_NO_PLACE);
    }
    if (in_all || d->panel.n_leads == 1) {
        possible->examine_at = arrived;
    }
}

/* Find the first of the candidates to be examined again on the present level; false if there are none. */
static bool first_again(const ecgmoe_detector *d, int *lead, int *place) {
    const uint8_t again = (uint8_t)(ECGMOE_PLACE_AGAIN + d->level - 1);
    const ecgmoe_candidate *first = NULL;
    for (int k = 0; k < d->panel.n_leads; k++) {
        const ecgmoe_lead_memory *const from = &d->panel.leads[k];
        for (int p = 0; p < ECGMOE_LEAD_CANDIDATES; p++) {
            const ecgmoe_candidate *const candidate = &from->candidates[p];
            if (from->places[p] != again) {
                continue;
            }
            const int64_t earlier = first == NULL ? -1
                                                  : ecgmoe_candidate_known_at(candidate) - ecgmoe_candidate_known_at(first);
            if (earlier < 0 || (earlier == 0 && *lead == k && candidate->at < first->at)) {
                first = candidate;
                *lead = k;
                *place = p;
            }
        }
    }
    return first != NULL;
}

/* Mark the open possible beats of the present level that a candidate at sample `at`, or a later one, cannot join. */
static void mark_complete(ecgmoe_detector *d, int64_t at) {
    for (int k = 0; k < d->n_open; k++) {
        ecgmoe_possible_beat *const possible = beat_of(d, d->open[k]);
        if (possible->level == d->level) {
            possible->marked = possible->at + d->constants->same_beat <= at;
        }
    }
}

/* Take the mark from the first possible beat of the present level that has one; NONE if there is none. */
static int next_marked(ecgmoe_detector *d) {
    for (int k = 0; k < d->n_open; k++) {
        ecgmoe_possible_beat *const possible = beat_of(d, d->open[k]);
        if (possible->marked && possible->level == d->level) {
            possible->marked = false;
            return d->open[k];
        }
    }
    return NONE;
}

/* End the present level: its open possible beats come before those of the level above, and wait with them. */
static void end_level(ecgmoe_detector *d, int64_t now) {
    uint8_t merged[ECGMOE_POSSIBLE_BEATS];
    int count = 0;
    for (int pass = 0; pass < 3; pass++) { /* the levels further above, the present one, the one above */
        for (int k = 0; k < d->n_open; k++) {
            const int level = beat_of(d, d->open[k])->level;
            const bool is_next = pass == 0 ? level + 1 < d->level : pass == 1 ? level == d->level : level + 1 == d->level;
            if (is_next) {
                merged[count++] = d->open[k];
            }
        }
    }
    memcpy(d->open, merged, (size_t)count);
    for (int k = 0; k < d->n_open; k++) {
        ecgmoe_possible_beat *const possible = beat_of(d, d->open[k]);
        if (possible->level == d->level) {
            possible->examine_at = ecgmoe_max_i64(possible->examine_at, now);
            possible->level--;
        }
    }
    d->level--;
}

/*
 * Examine past candidates in their order; those that no later candidate can join, at once. If a wrong level is found
 * meanwhile, the candidates rejected so far are examined again before this goes on. Python recurses there; here each
 * candidate and each possible beat has the number of its level.
 */
static void examine_again(ecgmoe_detector *d, int64_t now) {
    while (d->level > 0) {
        const uint16_t bit = (uint16_t)(1u << d->level);
        int lead = 0, place = 0;
        if (d->marked & bit) {
            const int index = next_marked(d);
            if (index != NONE) {
                if (examine(d, index, now)) { /* it would wait, but its successor is known already */
                    decide(d, index, now, now >= ecgmoe_possible_settled_at(beat_of(d, index)));
                }
                continue;
            }
            d->marked = (uint16_t)(d->marked & ~bit);
            first_again(d, &lead, &place);
            group(d, lead, place, ecgmoe_candidate_known_at(&d->panel.leads[lead].candidates[place]));
        } else if (first_again(d, &lead, &place)) {
            mark_complete(d, d->panel.leads[lead].candidates[place].at);
            d->marked = (uint16_t)(d->marked | bit);
        } else {
            end_level(d, now);
        }
    }
}

/* Decide on all possible beats, since the signal has ended. */
static void decide_all(ecgmoe_detector *d, int64_t now) {
    while (d->n_open > 0) {
        int earliest = d->open[0];
        for (int k = 1; k < d->n_open; k++) {
            if (beat_of(d, d->open[k])->at < beat_of(d, earliest)->at) {
                earliest = d->open[k];
            }
        }
        if (examine(d, earliest, now)) {
            decide(d, earliest, now, true);
        }
        examine_again(d, now);
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
    report_status(d, now, false);
    d->level = 1;
    examine_again(d, now);
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
    if (!is_known(d->timing.last_at) || ecgmoe_is_none(d->timing.rr_s) || d->searched >= d->n_rejected) {
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
        due = ecgmoe_min_i64(due, beat_of(d, d->open[k])->examine_at);
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
    int best = NONE, settled = 0;
    for (int k = 0; k < d->n_rejected; k++) {
        const ecgmoe_possible_beat *const possible = beat_of(d, d->rejected[k]);
        if (ecgmoe_possible_settled_at(possible) > due) {
            continue;
        }
        if (settled++ < d->searched || is_echo(d, possible) || ecgmoe_panel_is_weak(&d->panel, possible)) {
            continue;
        }
        const ecgmoe_real log_odds = ecgmoe_panel_log_odds(&d->panel, possible, &d->timing, true);
        if (log_odds > highest) {
            highest = log_odds;
            best = d->rejected[k];
        }
    }
    d->searched = (uint8_t)settled;
    if (highest > d->constants->search_back_log_odds) {
        accept(d, best, now, highest, true);
    }
}

/* Examine the open possible beat that is next, after a decision on those before it. */
static void examine_next(ecgmoe_detector *d, int64_t now) {
    int next = d->open[0];
    for (int k = 1; k < d->n_open; k++) {
        const ecgmoe_possible_beat *const one = beat_of(d, d->open[k]), *const other = beat_of(d, next);
        if (one->examine_at < other->examine_at || (one->examine_at == other->examine_at && one->at < other->at)) {
            next = d->open[k];
        }
    }
    mark_complete(d, beat_of(d, next)->at - 1 + d->constants->same_beat); /* those before it */
    for (int earlier = next_marked(d); earlier != NONE; earlier = next_marked(d)) {
        decide(d, earlier, now, now >= ecgmoe_possible_settled_at(beat_of(d, earlier)));
        examine_again(d, now);
    }
    examine(d, next, now);
    examine_again(d, now);
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
    report_status(d, now, false);
}

/* Decide whether a lead shows no ECG; if it begins to show one, of a slow heart, it gets more time. */
static void check_ecg(ecgmoe_detector *d, int lead, int64_t now) {
    if (d->panel.leads[lead].ecg_credit > 0) {
        d->panel.leads[lead].ecg_deadline = now + d->constants->ecg_within;
        return;
    }
    ecgmoe_panel_find_no_ecg(&d->panel, lead);
    report_status(d, now, false);
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
        learn_again(d, true);
        examine_again(d, now);
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
        forget_oldest_rejected(d);
        place = ecgmoe_lead_keep(lead, candidate, learning ? ECGMOE_PLACE_LEARNING : ECGMOE_PLACE_IN_BEAT);
    }
    if (place != ECGMOE_NO_PLACE && !learning) {
        group(d, k, place, known_at);
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
    report_status(d, known_at, last);
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

#include <string.h>

#include "ecgmoe_detector_parts.h"

/* The open possible beat of the present level that a candidate belongs to; ECGMOE_NO_BEAT if there is none. */
static int nearest_open(ecgmoe_detector *d, int lead, int64_t at) {
    int nearest = ECGMOE_NO_BEAT;
    int64_t smallest = d->constants->same_beat;
    for (int k = 0; k < d->n_open && d->panel.n_leads > 1; k++) {
        const ecgmoe_possible_beat *const possible = ecgmoe_detector_beat(d, d->open[k]);
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
            return ECGMOE_NO_BEAT;
        }
        ecgmoe_detector_forget_oldest(d); /* see ECGMOE_POSSIBLE_BEATS: there is always room */
    }
    const int index = d->free[--d->n_free];
    ecgmoe_possible_beat *const possible = ecgmoe_detector_beat(d, index);
    memset(possible, 0, sizeof *possible);
    memset(possible->shown, ECGMOE_NO_PLACE, sizeof possible->shown);
    possible->at = at;
    possible->examine_at = examine_at;
    possible->level = d->level;
    d->open[d->n_open++] = (uint8_t)index;
    return index;
}

/* Add the candidate in a place of a lead to the possible beat that it belongs to, or to a new one. */
void ecgmoe_detector_group(ecgmoe_detector *d, int k, int place, int64_t arrived) {
    ecgmoe_lead_memory *const lead = &d->panel.leads[k];
    const ecgmoe_candidate *const shown = &lead->candidates[place];
    const int64_t settled_at = ecgmoe_candidate_settled_at(shown);
    int index = nearest_open(d, k, shown->at);
    if (index == ECGMOE_NO_BEAT) {
        if (!lead->votes) {
            ecgmoe_lead_note_stray(lead, place, d->constants->same_beat);
            return;
        }
        index = add_open(d, shown->at, arrived + d->constants->same_beat);
        if (index == ECGMOE_NO_BEAT) {
            lead->places[place] = ECGMOE_PLACE_FREE;
            return;
        }
    }
    ecgmoe_possible_beat *const possible = ecgmoe_detector_beat(d, index);
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
void ecgmoe_detector_mark_complete(ecgmoe_detector *d, int64_t at) {
    for (int k = 0; k < d->n_open; k++) {
        ecgmoe_possible_beat *const possible = ecgmoe_detector_beat(d, d->open[k]);
        if (possible->level == d->level) {
            possible->marked = possible->at + d->constants->same_beat <= at;
        }
    }
}

/* Take the mark from the first possible beat of the present level that has one; ECGMOE_NO_BEAT if there is none. */
int ecgmoe_detector_next_marked(ecgmoe_detector *d) {
    for (int k = 0; k < d->n_open; k++) {
        ecgmoe_possible_beat *const possible = ecgmoe_detector_beat(d, d->open[k]);
        if (possible->marked && possible->level == d->level) {
            possible->marked = false;
            return d->open[k];
        }
    }
    return ECGMOE_NO_BEAT;
}

/* End the present level: its open possible beats come before those of the level above, and wait with them. */
static void end_level(ecgmoe_detector *d, int64_t now) {
    uint8_t merged[ECGMOE_POSSIBLE_BEATS];
    int count = 0;
    for (int pass = 0; pass < 3; pass++) { /* the levels further above, the present one, the one above */
        for (int k = 0; k < d->n_open; k++) {
            const int level = ecgmoe_detector_beat(d, d->open[k])->level;
            const bool is_next = pass == 0 ? level + 1 < d->level : pass == 1 ? level == d->level : level + 1 == d->level;
            if (is_next) {
                merged[count++] = d->open[k];
            }
        }
    }
    memcpy(d->open, merged, (size_t)count);
    for (int k = 0; k < d->n_open; k++) {
        ecgmoe_possible_beat *const possible = ecgmoe_detector_beat(d, d->open[k]);
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
void ecgmoe_detector_examine_again(ecgmoe_detector *d, int64_t now) {
    while (d->level > 0) {
        const uint16_t bit = (uint16_t)(1u << d->level);
        int lead = 0, place = 0;
        if (d->marked & bit) {
            const int index = ecgmoe_detector_next_marked(d);
            if (index != ECGMOE_NO_BEAT) {
                if (ecgmoe_detector_examine(d, index, now)) { /* it would wait, but its successor is known already */
                    ecgmoe_detector_decide(d, index, now, now >= ecgmoe_possible_settled_at(ecgmoe_detector_beat(d, index)));
                }
                continue;
            }
            d->marked = (uint16_t)(d->marked & ~bit);
            first_again(d, &lead, &place);
            ecgmoe_detector_group(d, lead, place, ecgmoe_candidate_known_at(&d->panel.leads[lead].candidates[place]));
        } else if (first_again(d, &lead, &place)) {
            ecgmoe_detector_mark_complete(d, d->panel.leads[lead].candidates[place].at);
            d->marked = (uint16_t)(d->marked | bit);
        } else {
            end_level(d, now);
        }
    }
}

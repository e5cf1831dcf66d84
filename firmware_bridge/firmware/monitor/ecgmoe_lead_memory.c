#include "ecgmoe_lead_memory.h"

#include <string.h>

void ecgmoe_lead_memory_init(
    ecgmoe_lead_memory *lead,
    const ecgmoe_lead_memory_constants *constants,
    const ecgmoe_rating_constants *rating) {
    memset(lead, 0, sizeof *lead);
    lead->constants = constants;
    ecgmoe_rater_init(&lead->rater, rating);
    lead->reason = ECGMOE_LEAD_START;
    lead->stray = ECGMOE_NO_PLACE;
    ecgmoe_lead_begin(lead, 0);
}

static void forget_stray(ecgmoe_lead_memory *lead) {
    if (lead->stray != ECGMOE_NO_PLACE) {
        lead->places[lead->stray] = ECGMOE_PLACE_FREE;
        lead->stray = ECGMOE_NO_PLACE;
    }
}

void ecgmoe_lead_begin(ecgmoe_lead_memory *lead, int64_t learning_end) {
    ecgmoe_rater_restart(&lead->rater);
    lead->noisy = false;
    lead->ecg_credit = (uint8_t)(lead->has_ecg ? lead->constants->enough_credit : 0);
    lead->no_ecg = false;
    for (int k = 0; k < ECGMOE_LEAD_CANDIDATES; k++) {
        if (lead->places[k] == ECGMOE_PLACE_LEARNING) {
            lead->places[k] = ECGMOE_PLACE_FREE;
        }
    }
    lead->learning = true;
    lead->learning_end = lead->ecg_deadline = learning_end;
    lead->undecided.at = ECGMOE_NO_SAMPLE;
    forget_stray(lead);
    lead->shows_waves = false;
    lead->mean_weight = 1;
    ecgmoe_recent_clear(&lead->shift);
    ecgmoe_recent_clear(&lead->between);
    lead->weight = ECGMOE_NONE_REAL;
    lead->rejected_any = false;
    lead->louds = lead->next_loud = 0;
}

int ecgmoe_lead_keep(ecgmoe_lead_memory *lead, const ecgmoe_candidate *candidate, uint8_t use) {
    for (int place = 0; place < ECGMOE_LEAD_CANDIDATES; place++) {
        if (lead->places[place] == ECGMOE_PLACE_FREE) {
            lead->candidates[place] = *candidate;
            lead->places[place] = use;
            return place;
        }
    }
    return ECGMOE_NO_PLACE;
}

int ecgmoe_lead_count(const ecgmoe_lead_memory *lead, uint8_t use) {
    int count = 0;
    for (int place = 0; place < ECGMOE_LEAD_CANDIDATES; place++) {
        count += lead->places[place] == use;
    }
    return count;
}

/*
 * A beat's energy, mV/s: that of the second strongest, since the strongest may be an artefact. At a slow heart rate, two
 * seconds contain only one beat; then the second is noise, far weaker, and the strongest counts.
 */
static ecgmoe_real beat_energy(const ecgmoe_lead_memory *lead, uint8_t use) {
    ecgmoe_real first = -1, second = -1; /* -1: there is none */
    for (int place = 0; place < ECGMOE_LEAD_CANDIDATES; place++) {
        if (lead->places[place] != use) {
            continue;
        }
        const ecgmoe_real energy = lead->candidates[place].energy;
        if (energy > first) {
            second = first;
            first = energy;
        } else if (energy > second) {
            second = energy;
        }
    }
    if (first < 0) {
        return lead->constants->floor_mv_s;
    }
    return second > lead->constants->same_kind * first ? second : first;
}

void ecgmoe_lead_learn(ecgmoe_lead_memory *lead, uint8_t use) {
    ecgmoe_rater_learn(&lead->rater, beat_energy(lead, use));
    ecgmoe_recent_clear(&lead->between);
    lead->weight = ECGMOE_NONE_REAL;
    lead->rejected_any = false;
    lead->louds = lead->next_loud = 0;
    lead->learning = false;
    lead->shows_waves = ecgmoe_lead_count(lead, use) >= lead->constants->waves;
}

void ecgmoe_lead_learn_again(ecgmoe_lead_memory *lead, uint8_t use) {
    lead->louds = lead->next_loud = 0;
    if (ecgmoe_lead_count(lead, use) > 0) {
        ecgmoe_lead_learn(lead, use);
    }
}

/*
 * Count a beat for or against an ECG in this lead. If a lead has shown an ECG and still shows beats, buried in noise as
 * they may be, nothing counts against it: its weight is low then, which is enough.
 */
static void count_ecg(ecgmoe_lead_memory *lead, const ecgmoe_accepted_beat *beat, const ecgmoe_candidate *shown) {
    const ecgmoe_lead_memory_constants *const c = lead->constants;
    const uint8_t one_less = (uint8_t)(lead->ecg_credit > 0 ? lead->ecg_credit - 1 : 0);
    if (shown == NULL) {
        if (beat->confirmed) {
            lead->ecg_credit = one_less;
        }
        return;
    }
    const ecgmoe_real recurrence = ecgmoe_rater_recurrence(&lead->rater, shown);
    const bool is_first = ecgmoe_is_none(recurrence);
    if (is_first && !beat->confirmed) {
        return; /* nothing to compare it with */
    }
    const bool recurs = is_first || recurrence >= c->recurs;
    const bool in_time =
        ecgmoe_is_none(beat->rr_s) ? beat->confirmed : c->fastest_s <= beat->rr_s && beat->rr_s <= c->slowest_s;
    /* T waves as steep as the QRS complexes lower the weight: then the correlation alone decides. A correlation of NaN,
     * for "none", is no large one. */
    const bool stands_out = ecgmoe_lead_weight(lead) >= c->stands_out || recurrence >= c->same;
    if (recurs && in_time && stands_out && ecgmoe_lead_is_quiet_beside(lead, shown)) {
        if (lead->ecg_credit < c->most_credit) {
            lead->ecg_credit++;
        }
        lead->has_ecg = lead->has_ecg || lead->ecg_credit >= c->enough_credit;
        lead->no_ecg = lead->no_ecg && !lead->has_ecg;
    } else if (!lead->has_ecg) {
        lead->ecg_credit = one_less;
    }
}

/* Update shift, energy between beats and mean weight after a beat. */
static void update_weight(ecgmoe_lead_memory *lead, const ecgmoe_accepted_beat *beat, const ecgmoe_candidate *shown) {
    const ecgmoe_lead_memory_constants *const c = lead->constants;
    if (shown != NULL && beat->sample != ECGMOE_NO_SAMPLE) {
        const int64_t shift = beat->sample - ecgmoe_candidate_sample(shown);
        ecgmoe_recent_add(&lead->shift, ECGMOE_SHIFTS, (ecgmoe_real)shift);
    }
    if (!lead->rejected_any && lead->between.count > 0) { /* no peak between two beats: earlier ones are forgotten */
        const ecgmoe_real forgotten = ecgmoe_recent_median(&lead->between) - c->forgotten;
        ecgmoe_recent_add(
            &lead->between, ECGMOE_QRS_MEMORY, ecgmoe_max(forgotten, lead->rater.level - c->usual_contrast));
        lead->weight = ECGMOE_NONE_REAL;
    }
    lead->rejected_any = false;
    lead->mean_weight += c->newest_share * (ecgmoe_lead_weight(lead) - lead->mean_weight);
    lead->noisy = lead->mean_weight < (lead->noisy ? c->clear_above : c->noisy_below);
}

void ecgmoe_lead_accept(ecgmoe_lead_memory *lead, const ecgmoe_accepted_beat *beat, const ecgmoe_candidate *shown) {
    count_ecg(lead, beat, shown);
    ecgmoe_rater_accept(&lead->rater, shown);
    lead->weight = ECGMOE_NONE_REAL;
    update_weight(lead, beat, shown);
}

static bool is_same_beat(const ecgmoe_candidate *candidate, int64_t at, int32_t same_beat) {
    const int64_t apart = candidate->at - at;
    return apart < same_beat && -apart < same_beat;
}

static void end_undecided(ecgmoe_lead_memory *lead) {
    if (lead->undecided.at != ECGMOE_NO_SAMPLE) {
        ecgmoe_lead_accept(lead, &lead->undecided, NULL);
        lead->undecided.at = ECGMOE_NO_SAMPLE;
    }
}

void ecgmoe_lead_accept_without_vote(ecgmoe_lead_memory *lead, const ecgmoe_accepted_beat *beat, int32_t same_beat) {
    end_undecided(lead);
    const ecgmoe_candidate *const stray = lead->stray == ECGMOE_NO_PLACE ? NULL : &lead->candidates[lead->stray];
    if (stray != NULL && is_same_beat(stray, beat->at, same_beat)) {
        ecgmoe_lead_accept(lead, beat, stray);
    } else {
        lead->undecided = *beat;
    }
    forget_stray(lead);
}

void ecgmoe_lead_note_stray(ecgmoe_lead_memory *lead, int place, int32_t same_beat) {
    const ecgmoe_candidate *const stray = &lead->candidates[place];
    if (lead->undecided.at != ECGMOE_NO_SAMPLE && is_same_beat(stray, lead->undecided.at, same_beat)) {
        ecgmoe_lead_accept(lead, &lead->undecided, stray);
        lead->undecided.at = ECGMOE_NO_SAMPLE;
        lead->places[place] = ECGMOE_PLACE_FREE;
    } else {
        end_undecided(lead);
        forget_stray(lead);
        lead->stray = (int8_t)place;
        lead->places[place] = ECGMOE_PLACE_STRAY;
    }
}

void ecgmoe_lead_reject(ecgmoe_lead_memory *lead, const ecgmoe_candidate *shown) {
    ecgmoe_rater_reject(&lead->rater, shown);
    if (!lead->learning) {
        ecgmoe_recent_add(&lead->between, ECGMOE_QRS_MEMORY, shown->log_energy);
        lead->weight = ECGMOE_NONE_REAL;
        lead->rejected_any = true;
    }
}

bool ecgmoe_lead_has_wrong_level(ecgmoe_lead_memory *lead, const ecgmoe_candidate *rejected) {
    if (!ecgmoe_rater_is_loud(&lead->rater, rejected)) {
        return false;
    }
    ecgmoe_waveforms_put(&lead->loud, lead->next_loud, rejected->waveform);
    lead->next_loud = (uint8_t)((lead->next_loud + 1) % ECGMOE_LOUD_PEAKS);
    if (lead->louds < ECGMOE_LOUD_PEAKS) {
        lead->louds++;
    }
    ecgmoe_real correlations[ECGMOE_QRS_MEMORY];
    ecgmoe_waveforms_compare(&lead->loud, rejected->waveform, correlations);
    int alike = 0;
    for (int k = 0; k < lead->louds; k++) {
        alike += correlations[k] > lead->constants->alike;
    }
    return alike >= lead->constants->loud_beats;
}

bool ecgmoe_lead_counts_if_not_shown(const ecgmoe_lead_memory *lead) {
    return lead->has_ecg || (lead->shows_waves && !lead->no_ecg);
}

void ecgmoe_lead_find_no_ecg(ecgmoe_lead_memory *lead) {
    lead->no_ecg = true;
    lead->has_ecg = false;
    lead->reason = ECGMOE_LEAD_NO_ECG;
}

void ecgmoe_lead_forget_shift(ecgmoe_lead_memory *lead) {
    ecgmoe_recent_clear(&lead->shift);
}

ecgmoe_real ecgmoe_lead_weight(ecgmoe_lead_memory *lead) {
    const ecgmoe_lead_memory_constants *const c = lead->constants;
    if (ecgmoe_is_none(lead->weight)) {
        const ecgmoe_real contrast =
            lead->between.count > 0 ? lead->rater.level - ecgmoe_recent_median(&lead->between) : c->usual_contrast;
        lead->weight = ecgmoe_pow(ecgmoe_max(c->least_weight, ecgmoe_min(1, contrast / c->full_contrast)), c->steep);
    }
    return lead->weight;
}

int64_t ecgmoe_lead_common_shift(const ecgmoe_lead_memory *lead) {
    if (lead->shift.count < lead->constants->fewest_shifts) {
        return 0;
    }
    return (int64_t)ecgmoe_rint(ecgmoe_recent_median(&lead->shift));
}

ecgmoe_real ecgmoe_lead_log_odds(
    const ecgmoe_lead_memory *lead,
    const ecgmoe_candidate *shown,
    const ecgmoe_beat_timing *timing,
    ecgmoe_real following) {
    const ecgmoe_real largest = lead->constants->largest_log_odds;
    return ecgmoe_max(
        -largest, ecgmoe_min(largest, ecgmoe_rater_log_odds(&lead->rater, shown, timing, following)));
}

bool ecgmoe_lead_is_quiet_beside(const ecgmoe_lead_memory *lead, const ecgmoe_candidate *shown) {
    return ecgmoe_max(shown->shape[ECGMOE_SHAPE_BEFORE], shown->shape[ECGMOE_SHAPE_AFTER]) <=
           lead->constants->quiet_beside;
}

bool ecgmoe_lead_has_one_waveform(const ecgmoe_lead_memory *lead, uint8_t use) {
    const ecgmoe_candidate *strongest[ECGMOE_STRONGEST];
    int count = 0;
    for (int place = 0; place < ECGMOE_LEAD_CANDIDATES; place++) {
        const ecgmoe_candidate *const candidate = &lead->candidates[place];
        if (lead->places[place] != use) {
            continue;
        }
        int rank = count < ECGMOE_STRONGEST ? count++ : ECGMOE_STRONGEST;
        for (; rank > 0 && strongest[rank - 1]->energy < candidate->energy; rank--) {
            if (rank < ECGMOE_STRONGEST) {
                strongest[rank] = strongest[rank - 1];
            }
        }
        if (rank < ECGMOE_STRONGEST) {
            strongest[rank] = candidate;
        }
    }
    for (int one = 0; one < count; one++) {
        for (int other = one + 1; other < count; other++) {
            if (ecgmoe_correlation(strongest[one]->waveform, strongest[other]->waveform) >
                lead->constants->same_waveform) {
                return true;
            }
        }
    }
    return false;
}

#include "ecgmoe_candidates.h"

#include <string.h>

#include "ecgmoe_candidate_features.h"

void ecgmoe_candidates_init(ecgmoe_candidates *finder, const ecgmoe_candidates_constants *constants) {
    finder->constants = constants;
    ecgmoe_candidates_restart(finder, 0);
}

void ecgmoe_candidates_restart(ecgmoe_candidates *finder, int64_t at) {
    const ecgmoe_candidates_constants *const constants = finder->constants;
    memset(finder, 0, sizeof *finder);
    finder->constants = constants;
    ecgmoe_moving_sums_restart(&finder->sums);
    finder->start = finder->stop = finder->known_until = at;
    finder->top = finder->open = ECGMOE_NO_SAMPLE;
}

/* Whether all energies within `reach` before the sample before the newest are smaller than it. */
static bool is_highest_so_far(const ecgmoe_candidates *finder) {
    const int reach = finder->constants->reach, length = 2 * reach + 1;
    const int64_t known = finder->stop - finder->start - 2; /* number of energies before it */
    const int count = known < reach ? (int)known : reach;
    int place = finder->in_energies - 2; /* its own */
    if (place < 0) {
        place += length;
    }
    for (int k = 0; k < count; k++) {
        place = place ? place - 1 : length - 1;
        if (finder->energies[place] >= finder->energy_before) {
            return false;
        }
    }
    return true;
}

/* Place of the largest of the last 2 half + 1 values of |signal in the QRS band|. Before the start, the first counts. */
static int largest_deflection(const ecgmoe_candidates *finder) {
    const int length = 2 * finder->constants->half + 1;
    const int64_t known = finder->stop - finder->start;
    const int missing = known < length ? length - (int)known : 0;
    int place = finder->in_qrs + missing; /* of the oldest one that is known */
    if (place >= length) {
        place -= length;
    }
    int largest = 0;
    ecgmoe_real height = finder->qrs[place];
    for (int k = missing + 1; k < length; k++) {
        place = place + 1 < length ? place + 1 : 0;
        if (finder->qrs[place] > height) {
            height = finder->qrs[place];
            largest = k;
        }
    }
    return largest;
}

/* Describe the candidate whose dominance the newest energy has made certain. */
static void report_top(ecgmoe_candidates *finder, const ecgmoe_history *signal, ecgmoe_candidate *found) {
    const ecgmoe_candidates_constants *const c = finder->constants;
    const int reach = c->reach, length = 2 * reach + 1;
    const int64_t known = finder->stop - finder->start;
    /* The newest energy is in the place before `in_energies`; that of the top lies `reach` before it. */
    int place = finder->in_energies;
    ecgmoe_real before = finder->top_energy, after = finder->top_energy;
    for (int k = 0; k < length && k < known; k++) {
        place = place ? place - 1 : length - 1;
        ecgmoe_real *const lowest = k < reach ? &after : &before;
        if (finder->energies[place] < *lowest) {
            *lowest = finder->energies[place];
        }
    }
    const ecgmoe_real width = (ecgmoe_real)c->width;
    found->at = finder->top;
    found->energy = finder->top_energy;
    found->shape[ECGMOE_SHAPE_SLOW] = finder->top_slow / width;
    found->shape[ECGMOE_SHAPE_FAST] = finder->top_fast / width;
    found->shape[ECGMOE_SHAPE_BEFORE] = before;
    found->shape[ECGMOE_SHAPE_AFTER] = after;
    found->shape[ECGMOE_SHAPE_BACKGROUND] = finder->background / (ecgmoe_real)c->block;
    found->following = c->unknown_following;
    found->known_after = (int16_t)(reach + 1);
    found->settled_after = (int16_t)(2 * reach + 1);
    ecgmoe_describe_candidate(c, signal, finder->largest, found);
    finder->open = finder->top;
    finder->open_energy = finder->top_energy;
    finder->highest = finder->energy;
}

/* Write `following` of the open candidate by the energies so far. */
static void settle(ecgmoe_candidates *finder, ecgmoe_following *settled) {
    settled->at = finder->open;
    settled->settled_after = (int16_t)(finder->stop - finder->open);
    settled->following = finder->highest / finder->open_energy;
    finder->open = ECGMOE_NO_SAMPLE;
}

/* Take |slope| in each band, mV/s, and |signal in the QRS band|, mV: one sample of the energies. */
static void append_energy(ecgmoe_candidates *finder, const ecgmoe_real slopes[ECGMOE_BANDS], ecgmoe_real qrs) {
    const ecgmoe_candidates_constants *const c = finder->constants;
    finder->background = ecgmoe_moving_sums_push(&finder->sums, c->width, c->block, slopes, finder->over_width);
    finder->energy_before = finder->energy;
    finder->energy = finder->over_width[ECGMOE_BAND_QRS] / (ecgmoe_real)c->width;
    finder->energies[finder->in_energies] = finder->energy;
    finder->in_energies = (int16_t)(finder->in_energies < 2 * c->reach ? finder->in_energies + 1 : 0);
    finder->qrs[finder->in_qrs] = qrs;
    finder->in_qrs = (int16_t)(finder->in_qrs < 2 * c->half ? finder->in_qrs + 1 : 0);
    finder->stop++;
}

/* Take one sample of the energies; returns flags of ECGMOE_CANDIDATE_... */
static unsigned process_energy(
    ecgmoe_candidates *finder,
    const ecgmoe_history *signal,
    const ecgmoe_real slopes[ECGMOE_BANDS],
    ecgmoe_real qrs,
    ecgmoe_candidate *found,
    ecgmoe_following *settled) {
    const ecgmoe_candidates_constants *const c = finder->constants;
    const ecgmoe_real two_before = finder->energy_before;
    const ecgmoe_real slow = finder->over_width[ECGMOE_BAND_SLOW], fast = finder->over_width[ECGMOE_BAND_FAST];
    append_energy(finder, slopes, qrs);
    const ecgmoe_real before = finder->energy_before, energy = finder->energy;
    const int64_t newest = finder->stop - 1;
    unsigned result = 0;
    if (finder->open != ECGMOE_NO_SAMPLE) {
        if (newest == finder->open + 2 * c->reach) {
            settle(finder, settled);
            result |= ECGMOE_CANDIDATE_SETTLED;
        } else if (energy > finder->highest) {
            finder->highest = energy;
        }
    }
    if (finder->top != ECGMOE_NO_SAMPLE) {
        if (energy > finder->top_energy) {
            finder->top = ECGMOE_NO_SAMPLE;
        }
    } else if (before > two_before && before >= energy && before > c->floor_mv_s && newest - finder->start >= 2 &&
               is_highest_so_far(finder)) {
        finder->top = newest - 1;
        finder->top_energy = before;
        finder->top_slow = slow;
        finder->top_fast = fast;
    }
    if (finder->top != ECGMOE_NO_SAMPLE) {
        if (newest == finder->top - c->width / 2 + c->half) {
            finder->largest = (int16_t)largest_deflection(finder);
        }
        if (newest == finder->top + c->reach) {
            if (finder->stop > finder->known_until) {
                report_top(finder, signal, found);
                result |= ECGMOE_CANDIDATE_FOUND;
            }
            finder->top = ECGMOE_NO_SAMPLE;
        }
    }
    return result;
}

unsigned ecgmoe_candidates_push(
    ecgmoe_candidates *finder,
    const ecgmoe_history *signal,
    ecgmoe_real y,
    ecgmoe_candidate *found,
    ecgmoe_following *settled) {
    const ecgmoe_candidates_constants *const c = finder->constants;
    const bool is_first = finder->stop == finder->start;
    if (is_first) {
        ecgmoe_qrs_bands_start(&finder->bands, &c->bands, y);
    }
    ecgmoe_real values[ECGMOE_BANDS], slopes[ECGMOE_BANDS];
    ecgmoe_qrs_bands_push(&finder->bands, &c->bands, y, values);
    for (int k = 0; k < ECGMOE_BANDS; k++) {
        slopes[k] = is_first ? 0 : ecgmoe_fabs(values[k] - finder->last[k]) * c->fs;
        finder->last[k] = values[k];
    }
    return process_energy(finder, signal, slopes, ecgmoe_fabs(values[ECGMOE_BAND_QRS]), found, settled);
}

unsigned ecgmoe_candidates_run_again(ecgmoe_candidates *finder, int64_t at, ecgmoe_following *settled) {
    const int64_t stop = finder->stop;
    unsigned result = 0;
    if (finder->open != ECGMOE_NO_SAMPLE) {
        settle(finder, settled);
        result = ECGMOE_CANDIDATE_SETTLED;
    }
    ecgmoe_candidates_restart(finder, at);
    finder->known_until = stop;
    return result;
}

int ecgmoe_candidates_break_off(
    ecgmoe_candidates *finder,
    const ecgmoe_history *signal,
    int64_t known_at,
    ecgmoe_candidate found[ECGMOE_MOST_LEFT],
    ecgmoe_following *settled) {
    const ecgmoe_candidates_constants *const c = finder->constants;
    const int64_t stop = finder->stop;
    const ecgmoe_real last_energy = finder->energy;
    const ecgmoe_real nothing[ECGMOE_BANDS] = {0};
    int count = 0;
    settled->at = ECGMOE_NO_SAMPLE;
    if (finder->open != ECGMOE_NO_SAMPLE) {
        settle(finder, settled);
    }
    if (stop == finder->start) {
        return 0;
    }
    /* As if the signal continued with its last value. */
    for (int k = 0; k < 2 * c->reach + 1; k++) {
        ecgmoe_candidate candidate;
        ecgmoe_following ignored;
        if (!(process_energy(finder, signal, nothing, 0, &candidate, &ignored) & ECGMOE_CANDIDATE_FOUND)) {
            continue;
        }
        const int64_t sample = ecgmoe_candidate_sample(&candidate);
        if (sample >= stop - c->seen || count == ECGMOE_MOST_LEFT) {
            continue; /* the top of its R peak has not arrived */
        }
        candidate.following = last_energy / candidate.energy;
        candidate.at = ecgmoe_min_i64(candidate.at, stop - 1);
        candidate.known_after = candidate.settled_after = (int16_t)(known_at - candidate.at);
        ecgmoe_candidate_move(&candidate, sample);
        found[count++] = candidate;
    }
    return count;
}

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

/* Filter a sample, mV: |slope| in each band, mV/s; returns |signal in the QRS band|, mV. */
static inline ecgmoe_real filter(ecgmoe_candidates *finder, ecgmoe_real y, ecgmoe_real slopes[ECGMOE_BANDS]) {
    const ecgmoe_candidates_constants *const c = finder->constants;
    if (finder->stop == finder->start) {
        for (int k = 0; k < ECGMOE_BANDS; k++) {
            ecgmoe_qrs_band_start(&finder->bands[k], &c->bands[k], y);
            ecgmoe_qrs_band unchanged = finder->bands[k];
            finder->last[k] = ecgmoe_qrs_band_push(&unchanged, &c->bands[k], y); /* the first slope is 0 */
        }
    }
    /* One by one: a compiler that makes vectors of a loop of three makes it slower. */
    const ecgmoe_real qrs = ecgmoe_qrs_band_push(&finder->bands[ECGMOE_BAND_QRS], &c->bands[ECGMOE_BAND_QRS], y);
    const ecgmoe_real slow = ecgmoe_qrs_band_push(&finder->bands[ECGMOE_BAND_SLOW], &c->bands[ECGMOE_BAND_SLOW], y);
    const ecgmoe_real fast = ecgmoe_qrs_band_push(&finder->bands[ECGMOE_BAND_FAST], &c->bands[ECGMOE_BAND_FAST], y);
    slopes[ECGMOE_BAND_QRS] = ecgmoe_fabs(qrs - finder->last[ECGMOE_BAND_QRS]) * c->fs;
    slopes[ECGMOE_BAND_SLOW] = ecgmoe_fabs(slow - finder->last[ECGMOE_BAND_SLOW]) * c->fs;
    slopes[ECGMOE_BAND_FAST] = ecgmoe_fabs(fast - finder->last[ECGMOE_BAND_FAST]) * c->fs;
    finder->last[ECGMOE_BAND_QRS] = qrs;
    finder->last[ECGMOE_BAND_SLOW] = slow;
    finder->last[ECGMOE_BAND_FAST] = fast;
    return ecgmoe_fabs(qrs);
}

/* Add |slope| in each band to the sums, and write the energies of this sample; `qrs` is written by the caller. */
static inline void add_slopes(
    ecgmoe_candidates *finder, ecgmoe_sums_newest *newest, const ecgmoe_real slopes[ECGMOE_BANDS],
    ecgmoe_band_energies *energies) {
    const ecgmoe_candidates_constants *const c = finder->constants;
    ecgmoe_real over_width[ECGMOE_BANDS];
    energies->background = ecgmoe_moving_sums_push(&finder->sums, newest, c->width, c->block, slopes, over_width);
    energies->energy = over_width[ECGMOE_BAND_QRS] / (ecgmoe_real)c->width;
    energies->slow = over_width[ECGMOE_BAND_SLOW];
    energies->fast = over_width[ECGMOE_BAND_FAST];
}

void ecgmoe_candidates_filter_all(
    ecgmoe_candidates *finder, const ecgmoe_real *y, int32_t n, ecgmoe_band_energies *energies) {
    const ecgmoe_candidates_constants *const c = finder->constants;
    /* Copies, which stay in registers. */
    ecgmoe_qrs_band of_qrs = finder->bands[ECGMOE_BAND_QRS], of_slow = finder->bands[ECGMOE_BAND_SLOW];
    ecgmoe_qrs_band of_fast = finder->bands[ECGMOE_BAND_FAST];
    ecgmoe_real last_qrs = finder->last[ECGMOE_BAND_QRS], last_slow = finder->last[ECGMOE_BAND_SLOW];
    ecgmoe_real last_fast = finder->last[ECGMOE_BAND_FAST];
    for (int32_t i = 0; i < n; i++) {
        const ecgmoe_real qrs = ecgmoe_qrs_band_push(&of_qrs, &c->bands[ECGMOE_BAND_QRS], y[i]);
        const ecgmoe_real slow = ecgmoe_qrs_band_push(&of_slow, &c->bands[ECGMOE_BAND_SLOW], y[i]);
        const ecgmoe_real fast = ecgmoe_qrs_band_push(&of_fast, &c->bands[ECGMOE_BAND_FAST], y[i]);
        energies[i].qrs = ecgmoe_fabs(qrs);
        energies[i].energy = ecgmoe_fabs(qrs - last_qrs) * c->fs; /* slopes, until they are summed */
        energies[i].slow = ecgmoe_fabs(slow - last_slow) * c->fs;
        energies[i].fast = ecgmoe_fabs(fast - last_fast) * c->fs;
        last_qrs = qrs;
        last_slow = slow;
        last_fast = fast;
    }
    finder->bands[ECGMOE_BAND_QRS] = of_qrs;
    finder->bands[ECGMOE_BAND_SLOW] = of_slow;
    finder->bands[ECGMOE_BAND_FAST] = of_fast;
    finder->last[ECGMOE_BAND_QRS] = last_qrs;
    finder->last[ECGMOE_BAND_SLOW] = last_slow;
    finder->last[ECGMOE_BAND_FAST] = last_fast;
    ecgmoe_sums_newest newest = finder->sums.newest;
    for (int32_t i = 0; i < n; i++) {
        ecgmoe_real slopes[ECGMOE_BANDS];
        slopes[ECGMOE_BAND_QRS] = energies[i].energy;
        slopes[ECGMOE_BAND_SLOW] = energies[i].slow;
        slopes[ECGMOE_BAND_FAST] = energies[i].fast;
        add_slopes(finder, &newest, slopes, &energies[i]);
    }
    finder->sums.newest = newest;
}

unsigned ecgmoe_candidates_take(
    ecgmoe_candidates *finder,
    const ecgmoe_history *signal,
    const ecgmoe_band_energies *energies,
    ecgmoe_candidate *found,
    ecgmoe_following *settled) {
    const ecgmoe_candidates_constants *const c = finder->constants;
    const ecgmoe_real two_before = finder->energy_before, before = finder->energy;
    const ecgmoe_real slow = finder->slow, fast = finder->fast;
    const ecgmoe_real energy = energies->energy;
    finder->background = energies->background;
    finder->slow = energies->slow;
    finder->fast = energies->fast;
    finder->energy_before = before;
    finder->energy = energy;
    finder->energies[finder->in_energies] = energy;
    finder->in_energies = finder->in_energies < 2 * c->reach ? finder->in_energies + 1 : 0;
    finder->qrs[finder->in_qrs] = energies->qrs;
    finder->in_qrs = finder->in_qrs < 2 * c->half ? finder->in_qrs + 1 : 0;
    const int64_t newest = finder->stop++;
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
            finder->largest = largest_deflection(finder);
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

/* Take one sample: NaN for one after the end of the signal, without slope. Returns flags of ECGMOE_CANDIDATE_... */
static unsigned process_sample(
    ecgmoe_candidates *finder,
    const ecgmoe_history *signal,
    ecgmoe_real y,
    ecgmoe_candidate *found,
    ecgmoe_following *settled) {
    ecgmoe_real slopes[ECGMOE_BANDS] = {0};
    ecgmoe_band_energies energies;
    energies.qrs = ecgmoe_is_none(y) ? 0 : filter(finder, y, slopes);
    add_slopes(finder, &finder->sums.newest, slopes, &energies);
    return ecgmoe_candidates_take(finder, signal, &energies, found, settled);
}

unsigned ecgmoe_candidates_push(
    ecgmoe_candidates *finder,
    const ecgmoe_history *signal,
    ecgmoe_real y,
    ecgmoe_candidate *found,
    ecgmoe_following *settled) {
    return process_sample(finder, signal, y, found, settled);
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
        if (!(process_sample(finder, signal, ECGMOE_NONE_REAL, &candidate, &ignored) & ECGMOE_CANDIDATE_FOUND)) {
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

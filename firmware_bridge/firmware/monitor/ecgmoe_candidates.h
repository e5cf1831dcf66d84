/*
 * Candidates for a QRS complex: peaks of energy in a live signal, each with its features.
 * Python: `CandidateFinder` in ecgmoe_edge/streaming/qrs/candidates.py.
 *
 * Energy is the mean of |slope| in the QRS band over about the width of a QRS complex. A peak of energy is a candidate if
 * nothing within `reach` samples on either side is larger. Of the energies, only those within this distance are kept.
 */
#ifndef ECGMOE_CANDIDATES_H
#define ECGMOE_CANDIDATES_H

#include "ecgmoe_candidate.h"
#include "ecgmoe_history.h"
#include "ecgmoe_qrs_bands.h"
#include "ecgmoe_sums.h"

/* From an object `finder = CandidateFinder(fs, signal)`; names in capitals are those of its module. */
typedef struct {
    ecgmoe_qrs_band_constants bands[ECGMOE_BANDS]; /* finder.bands */
    ecgmoe_real fs;
    int32_t width;   /* finder.width */
    int32_t block;   /* finder.background */
    int32_t reach;   /* finder.reach */
    int32_t half;    /* finder.half: half the width of the widest QRS complex that is examined as a whole */
    int32_t longest; /* round(LONGEST_QRS_S * fs) */
    int32_t seen;    /* round(SEEN_S * fs) */
    int32_t waveform[ECGMOE_WAVEFORM]; /* finder.waveform: samples relative to the largest deflection */
    ecgmoe_real floor_mv_s;            /* FLOOR_MV_S */
    ecgmoe_real first_share;           /* FIRST_SHARE */
    ecgmoe_real long_share;            /* LONG_SHARE */
    ecgmoe_real tiny;                  /* TINY */
    ecgmoe_real least_norm;            /* LEAST_NORM */
    ecgmoe_real unknown_following;     /* UNKNOWN_FOLLOWING */
} ecgmoe_candidates_constants;

#define ECGMOE_NEAR (2 * ECGMOE_MS(ECGMOE_DOMINANCE_MS) + 1)
#define ECGMOE_QRS (2 * ECGMOE_MS(ECGMOE_HALF_QRS_MS) + 1)

typedef struct {
    const ecgmoe_candidates_constants *constants;
    int64_t start; /* first sample of the signal */
    int64_t stop;  /* number of the next sample */
    int64_t known_until; /* candidates known by then were reported before the signal was replaced */
    ecgmoe_moving_sums sums; /* of |slope| in each band, mV/s */
    ecgmoe_real energies[ECGMOE_NEAR]; /* a ring, mV/s */
    ecgmoe_real qrs[ECGMOE_QRS];       /* a ring: |signal in the QRS band|, mV */
    ecgmoe_qrs_band bands[ECGMOE_BANDS];
    ecgmoe_real last[ECGMOE_BANDS];          /* last value of each band */
    ecgmoe_real slow, fast;                  /* sums of |slope| in these bands over the width of a QRS complex */
    ecgmoe_real background;                  /* sum of |slope| in the QRS band in the last second */
    ecgmoe_real energy, energy_before;       /* the newest, and the one before */
    /* The highest energy that may become a candidate. */
    int64_t top; /* ECGMOE_NO_SAMPLE: there is none */
    ecgmoe_real top_energy, top_slow, top_fast;
    /* The candidate whose following energy is not known yet. */
    int64_t open; /* ECGMOE_NO_SAMPLE: there is none */
    ecgmoe_real open_energy, highest;
    int32_t largest;             /* place of the largest deflection of `top` among the last samples of its QRS */
    int32_t in_energies, in_qrs; /* places of the next sample in the rings */
} ecgmoe_candidates;

/* One sample in the bands. */
typedef struct {
    ecgmoe_real qrs;        /* |signal in the QRS band|, mV */
    ecgmoe_real energy;     /* mV/s */
    ecgmoe_real slow, fast; /* sums of |slope| in these bands over the width of a QRS complex */
    ecgmoe_real background; /* sum of |slope| in the QRS band in the last second */
} ecgmoe_band_energies;

/* Result of a sample. */
enum {
    ECGMOE_CANDIDATE_FOUND = 1,  /* `found` is a new candidate */
    ECGMOE_CANDIDATE_SETTLED = 2 /* `settled` is known about the candidate before */
};

#define ECGMOE_MOST_LEFT 2 /* candidates at the end of a signal: those of the last 300 ms, more than 150 ms apart */

void ecgmoe_candidates_init(ecgmoe_candidates *finder, const ecgmoe_candidates_constants *constants);

/* Start a new signal at sample `at`; nothing is carried over. */
void ecgmoe_candidates_restart(ecgmoe_candidates *finder, int64_t at);

/* Take a sample `y`, mV in the monitoring band, the last one in `signal`. Returns flags of ECGMOE_CANDIDATE_... */
unsigned ecgmoe_candidates_push(
    ecgmoe_candidates *finder,
    const ecgmoe_history *signal,
    ecgmoe_real y,
    ecgmoe_candidate *found,
    ecgmoe_following *settled);

/*
 * The same in two steps: compute the energies of the next `n` samples, if there were samples before, and then take each of
 * them with its energies, once it is the last one in `signal`.
 */
void ecgmoe_candidates_filter_all(
    ecgmoe_candidates *finder, const ecgmoe_real *y, int32_t n, ecgmoe_band_energies *energies);
unsigned ecgmoe_candidates_take(
    ecgmoe_candidates *finder,
    const ecgmoe_history *signal,
    const ecgmoe_band_energies *energies,
    ecgmoe_candidate *found,
    ecgmoe_following *settled);

/*
 * Replace the past by other samples from `at` on, up to the newest one, which are pushed next. What is found in them is not
 * reported again. Returns ECGMOE_CANDIDATE_SETTLED, or 0.
 */
unsigned ecgmoe_candidates_run_again(ecgmoe_candidates *finder, int64_t at, ecgmoe_following *settled);

/*
 * The signal ends here, which is certain at `known_at`. Writes its remaining candidates, at most ECGMOE_MOST_LEFT, and
 * returns their number; `settled->at` is ECGMOE_NO_SAMPLE if nothing else became known.
 */
int ecgmoe_candidates_break_off(
    ecgmoe_candidates *finder,
    const ecgmoe_history *signal,
    int64_t known_at,
    ecgmoe_candidate found[ECGMOE_MOST_LEFT],
    ecgmoe_following *settled);

#endif

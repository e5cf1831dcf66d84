/*
 * What the parts of the detector use of each other: decisions on possible beats (ecgmoe_detector_decisions.c), candidates
 * that join them, also past ones (ecgmoe_detector_again.c), and the clock (ecgmoe_detector.c).
 */
#ifndef ECGMOE_DETECTOR_PARTS_H
#define ECGMOE_DETECTOR_PARTS_H

#include "ecgmoe_detector.h"

#define ECGMOE_NO_BEAT 255 /* index of no possible beat */

static inline ecgmoe_possible_beat *ecgmoe_detector_beat(ecgmoe_detector *d, int index) {
    return &d->beats[index];
}

static inline bool ecgmoe_is_sample(int64_t sample) {
    return sample != ECGMOE_NO_SAMPLE;
}

/* Forget a possible beat that is in no list any more, with its candidates. */
void ecgmoe_detector_forget(ecgmoe_detector *d, int index);

void ecgmoe_detector_forget_oldest(ecgmoe_detector *d); /* rejected possible beat */

void ecgmoe_detector_report_status(ecgmoe_detector *d, int64_t now, bool broken);

/* Whether the last beat is too close. */
bool ecgmoe_detector_is_echo(const ecgmoe_detector *d, const ecgmoe_possible_beat *possible);

/* Accept a possible beat; unless it is a rejected one that search-back has found, it is in no list. */
void ecgmoe_detector_accept(ecgmoe_detector *d, int index, int64_t now, ecgmoe_real log_odds, bool search_back);

/*
 * Learn the levels from rejected candidates, after a silence that is too long for a pause. These candidates are then to be
 * examined again: on a deeper level, if past candidates are being examined again at present.
 * only_alike: only if some lead has shown one waveform twice; else it may be noise in an asystole.
 */
void ecgmoe_detector_learn_again(ecgmoe_detector *d, bool only_alike);

/*
 * Accept or reject an open possible beat now. settled: the energy after the beat is known, or no more of it will be known.
 * It may turn out that past candidates must be examined again: then call `ecgmoe_detector_examine_again`.
 */
void ecgmoe_detector_decide(ecgmoe_detector *d, int index, int64_t now, bool settled);

/*
 * Accept an open possible beat if it certainly is one, reject it if it certainly is none, else let it wait. Returns whether
 * it is still open. As after `ecgmoe_detector_decide`, past candidates may have to be examined again.
 */
bool ecgmoe_detector_examine(ecgmoe_detector *d, int index, int64_t now);

/* Add the candidate in a place of a lead to the possible beat that it belongs to, or to a new one. */
void ecgmoe_detector_group(ecgmoe_detector *d, int lead, int place, int64_t arrived);

/* Mark the open possible beats of the present level that a candidate at sample `at`, or a later one, cannot join. */
void ecgmoe_detector_mark_complete(ecgmoe_detector *d, int64_t at);

/* Take the mark from the first possible beat of the present level that has one; ECGMOE_NO_BEAT if there is none. */
int ecgmoe_detector_next_marked(ecgmoe_detector *d);

/*
 * Examine past candidates in their order; those that no later candidate can join, at once. If a wrong level is found
 * meanwhile, the candidates rejected so far are examined again before this goes on. Python recurses there; here each
 * candidate and each possible beat has the number of its level.
 */
void ecgmoe_detector_examine_again(ecgmoe_detector *d, int64_t now);

#endif

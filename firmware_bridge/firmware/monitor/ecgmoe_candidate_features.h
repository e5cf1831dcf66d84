/*
 * The features of a candidate that are read from the signal around it: its R peak and its waveform.
 * Python: `CandidateFinder._describe`.
 */
#ifndef ECGMOE_CANDIDATE_FEATURES_H
#define ECGMOE_CANDIDATE_FEATURES_H

#include "ecgmoe_candidates.h"

/*
 * Complete a candidate, of which `at`, `energy` and the energies in `shape` are known: R peak, logarithms, waveform.
 * `largest`: place of the largest deflection in the QRS band, among 2 half + 1 samples around the middle of the complex.
 */
void ecgmoe_describe_candidate(
    const ecgmoe_candidates_constants *constants,
    const ecgmoe_history *signal,
    int largest,
    ecgmoe_candidate *candidate);

#endif

/*
 * What a candidate for a beat may be instead of a QRS complex: a step of the signal, or the tail of a pacing spike.
 * Python: part of `LeadSignal` in signal/lead.py.
 */
#ifndef ECGMOE_LEAD_STEPS_H
#define ECGMOE_LEAD_STEPS_H

#include "ecgmoe_lead.h"

/* Whether a candidate is a step to or from a constant level, or between two straight lines.
 *
 * r: its R peak. arrived: number of samples that had arrived when it became known. */
bool ecgmoe_lead_is_step(const ecgmoe_lead_signal *l, int64_t r, int64_t arrived);

/* Whether the energy of a candidate is that of the tail of a pacing spike. */
bool ecgmoe_lead_is_spike(const ecgmoe_lead_signal *l, const ecgmoe_candidate *candidate);

/* Move an R peak that lies on the tail of a pacing spike to the QRS complex on this tail, if there is one. */
void ecgmoe_lead_move_off_tail(const ecgmoe_lead_signal *l, ecgmoe_candidate *candidate);

#endif

/*
 * Whether RR intervals can be predicted from those before: in respiratory arrhythmia they can, in fibrillation not.
 * Python: ecgmoe_edge/streaming/rhythm/predictability.py.
 */
#ifndef ECGMOE_PREDICTABILITY_H
#define ECGMOE_PREDICTABILITY_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

/* In ms; in 32-bit builds in units of 1/8 ms. */
#ifdef ECGMOE_REAL_FLOAT
typedef uint16_t ecgmoe_stored_rr;
#else
typedef double ecgmoe_stored_rr;
#endif

typedef struct {
    ecgmoe_real least_spread;  /* predictability.LEAST_SPREAD */
    ecgmoe_real predictable;   /* predictability.PREDICTABLE */
    ecgmoe_real steady_within; /* predictability.STEADY_WITHIN */
    ecgmoe_real steady_share;  /* predictability.STEADY_SHARE */
    ecgmoe_real outlier;       /* predictability.OUTLIER */
} ecgmoe_predictability_constants;

typedef struct {
    const ecgmoe_predictability_constants *constants;
    ecgmoe_stored_rr rr[ECGMOE_PREDICTED_INTERVALS]; /* a ring of RR intervals */
    uint8_t first, count;
} ecgmoe_predictability;

void ecgmoe_predictability_init(ecgmoe_predictability *p, const ecgmoe_predictability_constants *constants);
void ecgmoe_predictability_add(ecgmoe_predictability *p, ecgmoe_real rr_ms);
/* Whether the intervals vary and are predictable; there must be at least one interval. */
bool ecgmoe_predictability_is_smooth(const ecgmoe_predictability *p);
/* Whether most intervals are equal; there must be at least one interval. */
bool ecgmoe_predictability_is_steady(const ecgmoe_predictability *p);
/* The fraction of the variance that is not explained, 0 to 1; there must be at least one interval. */
ecgmoe_real ecgmoe_predictability_unexplained(const ecgmoe_predictability *p);

#endif

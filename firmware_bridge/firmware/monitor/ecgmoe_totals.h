/*
 * Totals of a stream, in constant memory. Python: ecgmoe_edge/streaming/totals.py.
 *
 * Percentiles of the delay need a histogram, which a microcontroller hardly has memory for: -DECGMOE_DELAY_BINS=0
 * leaves them out, which is the default of 32-bit builds. A bin is one per cent wide; 1400 of them reach from 1 ms to
 * 1200 s.
 */
#ifndef ECGMOE_TOTALS_H
#define ECGMOE_TOTALS_H

#include "ecgmoe_events.h"
#include "ecgmoe_model_tasks.h"

#ifndef ECGMOE_DELAY_BINS
#ifdef ECGMOE_REAL_FLOAT
#define ECGMOE_DELAY_BINS 0
#else
#define ECGMOE_DELAY_BINS 1400
#endif
#endif
#define ECGMOE_PERCENTILES 3

typedef struct {
    double fs;
    double percents[ECGMOE_PERCENTILES]; /* totals.PERCENTS */
} ecgmoe_totals_constants;

/* Totals of atrial fibrillation: events.AfBurden. */
typedef struct {
    double af_s, classified_s, longest_s; /* the percentage is 100 af_s / classified_s */
    int32_t episodes;
} ecgmoe_af_burden;

/* The last event of a stream: events.End. The labels and the percentiles of the delay are in functions below. */
typedef struct {
    const ecgmoe_totals_constants *constants;
    const ecgmoe_model_tasks *tasks;
    int64_t received, lost, unusable, bridged; /* samples */
    uint32_t gaps;
    uint32_t beats[ECGMOE_MOST_CLASSES]; /* by class */
    uint32_t poor;                       /* beats that are `?`, artefacts included */
    uint32_t unclassified;               /* beats without a model */
    uint32_t artefacts, relabelled;
    uint32_t rr_count;
    double rr_sum_ms;
    ecgmoe_af_burden af;
    bool after_artefact;
#if ECGMOE_DELAY_BINS
    uint32_t delays[ECGMOE_DELAY_BINS]; /* number of delays by 100 times the logarithm of their ms, rounded */
#endif
} ecgmoe_totals;

void ecgmoe_totals_init(ecgmoe_totals *totals, const ecgmoe_totals_constants *constants,
                        const ecgmoe_model_tasks *tasks);
/* Count samples that never arrived; `ecgmoe_totals_count` gets their gap with the other events. */
void ecgmoe_totals_lose(ecgmoe_totals *totals, int64_t samples, ecgmoe_gap_reason reason);
void ecgmoe_totals_count(ecgmoe_totals *totals, const ecgmoe_event *event);
/* NaN if no RR interval was known. */
double ecgmoe_totals_heart_rate(const ecgmoe_totals *totals);
/* Percentile of the delay in ms, for the entry `which` of the percents; NaN without a beat, and without the
 * histogram. */
double ecgmoe_totals_delay(const ecgmoe_totals *totals, int which);

#endif

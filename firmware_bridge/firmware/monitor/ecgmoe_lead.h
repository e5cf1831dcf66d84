/*
 * One lead: filters, candidates for a beat, beat windows, quality, flatline and clipping.
 * Python: `LeadSignal` in signal/lead.py.
 *
 * With automatic notches, the first second of a signal is kept back until it is known whether it contains hum. So a
 * sample may make several candidates known:
 *
 *     ecgmoe_lead_signal_push(&lead, x);
 *     while ((flags = ecgmoe_lead_signal_next(&lead, &found, &settled)) != 0) ...
 *     while (ecgmoe_lead_signal_next_mains(&lead, &report)) ...
 */
#ifndef ECGMOE_LEAD_H
#define ECGMOE_LEAD_H

#include "ecgmoe_candidates.h"
#include "ecgmoe_filters.h"
#include "ecgmoe_flatline.h"
#include "ecgmoe_history.h"
#include "ecgmoe_mains.h"
#include "ecgmoe_marks.h"
#include "ecgmoe_pacing.h"
#include "ecgmoe_quality.h"
#include "ecgmoe_windows.h"

/* From a `LeadSignal(...)`; names in capitals are those of the module lead. Times in samples. */
typedef struct {
    ecgmoe_real fs;
    ecgmoe_real sign; /* LeadSignal.sign: -1 if the signal is inverted */
    int32_t model_rate_hz;   /* windows.MODEL_RATE_HZ */
    int32_t step_near, step_far;     /* LeadSignal.step */
    int32_t beside_near, beside_far; /* LeadSignal.beside */
    ecgmoe_real straight, plateau;   /* STRAIGHT, PLATEAU */
    ecgmoe_real level_share;         /* LEVEL_SHARE */
    int32_t after_spike, complex_end, spike_reach, tail; /* LeadSignal.after_spike ... */
    int32_t near;                         /* LeadSignal.near */
    int32_t examined_before, examined_after; /* LeadSignal.examined */
    ecgmoe_filter_constants band;         /* LeadSignal.band */
    ecgmoe_mains_constants mains;
    ecgmoe_flatline_constants flatline;
    ecgmoe_quality_constants quality;
    ecgmoe_tail_constants tails;
    ecgmoe_window_constants window;       /* LeadSignal.window */
} ecgmoe_lead_constants;

#define ECGMOE_SPIKE_BYTES ECGMOE_MARK_BYTES(ECGMOE_RAW_SAMPLES)
#define ECGMOE_BRIDGED_BYTES ECGMOE_MARK_BYTES(ECGMOE_HISTORY_SAMPLES)

typedef struct {
    const ecgmoe_lead_constants *constants;
    bool present;     /* the lead has a signal */
    bool kept_back;   /* the filtered signal from `signal.stop` on is kept back, until its hum is known */
    bool released;    /* the signal ends; what was kept back is searched as it is */
    bool block_ended; /* with the newest sample, a block of the hum's measurement ended */
    bool impossible;  /* that the notch is not possible at this rate has to be reported */
    int64_t begun_at;
    int64_t newest;        /* end (exclusive) of the filtered samples; `signal` has those after `signal.stop` ahead */
    int64_t measured_from; /* bridges before this sample do not count: they were of a signal that has ended */
    ecgmoe_filter band;
    ecgmoe_hum_filter hum;
    ecgmoe_flatline_detector flatline;
    ecgmoe_quality quality;
    ecgmoe_candidates finder;
    ecgmoe_marks spikes, bridged;
    uint8_t spike_bits[ECGMOE_SPIKE_BYTES];
    uint8_t bridged_bits[ECGMOE_BRIDGED_BYTES];
    ecgmoe_raw raw;         /* the signal, mV */
    ecgmoe_history signal;  /* the signal in the monitoring band, mV */
} ecgmoe_lead_signal;

#if ECGMOE_AHEAD > 0
/* Samples that are filtered before they are taken one by one: filter by filter, whose states stay in registers. */
typedef struct {
    ecgmoe_real x[ECGMOE_AHEAD]; /* mV */
    ecgmoe_real y[ECGMOE_AHEAD]; /* in the monitoring band, after the notches, mV */
    ecgmoe_band_energies energies[ECGMOE_AHEAD];
} ecgmoe_lead_ahead;
#endif

void ecgmoe_lead_signal_init(ecgmoe_lead_signal *l, const ecgmoe_lead_constants *constants,
                      const ecgmoe_candidates_constants *candidates);

/* End the signal, as on all leads; the next sample has number `at`. */
void ecgmoe_lead_signal_restart(ecgmoe_lead_signal *l, int64_t at);

/* Start a new signal at sample `at`. */
void ecgmoe_lead_signal_begin(ecgmoe_lead_signal *l, int64_t at);

/* End the signal. */
static inline void ecgmoe_lead_signal_end(ecgmoe_lead_signal *l) {
    l->present = false;
}

/* Take the next sample of a present signal, mV. */
void ecgmoe_lead_signal_push(ecgmoe_lead_signal *l, ecgmoe_real x);

/* Take what becomes known by it: flags of ECGMOE_CANDIDATE_..., 0 if there is nothing more until the next sample. Call
 * it until it returns 0, also if the candidates are not wanted. */
unsigned ecgmoe_lead_signal_next(ecgmoe_lead_signal *l, ecgmoe_candidate *found, ecgmoe_following *settled);

#if ECGMOE_AHEAD > 0
/* Most of the next samples that can be filtered ahead: until hum is decided on, or a flatline would be known. */
int32_t ecgmoe_lead_signal_most_ahead(const ecgmoe_lead_signal *l);

/* Filter the next `n` samples `ahead->x`. Then take each of them, before any other call. */
void ecgmoe_lead_signal_filter_ahead(ecgmoe_lead_signal *l, ecgmoe_lead_ahead *ahead, int32_t n);

/* Take sample number `i` of them: instead of `push`, and of all calls of `next` for it. */
unsigned ecgmoe_lead_signal_take_ahead(
    ecgmoe_lead_signal *l, const ecgmoe_lead_ahead *ahead, int32_t i, ecgmoe_candidate *found,
    ecgmoe_following *settled);
#endif

/* No more samples come: what is kept back is searched as it is. Then take all of `ecgmoe_lead_signal_next`. */
void ecgmoe_lead_signal_release(ecgmoe_lead_signal *l);

/* After that: the remaining candidates, which is certain at `known_at`. Returns their number;
 * `settled->at` is ECGMOE_NO_SAMPLE if nothing else became known. */
int ecgmoe_lead_signal_break_off(ecgmoe_lead_signal *l, int64_t known_at, ecgmoe_candidate found[ECGMOE_MOST_LEFT],
                          ecgmoe_following *settled);

/* Take the next report about mains hum. */
bool ecgmoe_lead_signal_next_mains(ecgmoe_lead_signal *l, ecgmoe_mains_report *report);

/* Flatline and clipping in the usable sample `at`, mV: the number of reports. */
static inline int ecgmoe_lead_signal_detect_flatline(ecgmoe_lead_signal *l, ecgmoe_real x, int64_t at,
                                              ecgmoe_flatline_report out[ECGMOE_MOST_FLATLINE_REPORTS]) {
    return ecgmoe_flatline_push(&l->flatline, x, at, out);
}

/* Write what is not reported yet; the usable samples end before sample `at`. Returns the number of reports. */
int ecgmoe_lead_signal_end_flatline(ecgmoe_lead_signal *l, int64_t at,
                             ecgmoe_flatline_report out[ECGMOE_MOST_FLATLINE_REPORTS]);

/* Note that a pacing spike was removed from the samples that come next. */
void ecgmoe_lead_signal_spike(ecgmoe_lead_signal *l, int64_t sample, int32_t width);

/* Note that samples `start` to `stop` (exclusive) are a bridge over a hole and not measured. */
void ecgmoe_lead_signal_bridge(ecgmoe_lead_signal *l, int64_t start, int64_t stop);

/* Whether the whole window of a beat with its R peak at sample `r` has arrived. */
bool ecgmoe_lead_signal_shows(const ecgmoe_lead_signal *l, int64_t r);

/* Write the window in mV of a beat with its R peak at sample `r`; zero where there is no signal. */
static inline void ecgmoe_lead_signal_window(const ecgmoe_lead_signal *l, int64_t r, float *window) {
    ecgmoe_window_read(&l->constants->window, &l->signal, r, ECGMOE_NEVER, window);
}

/* Quality of the next beat of this lead, 0 to 1. Clipping counts if it is known by now. */
ecgmoe_real ecgmoe_lead_signal_quality(ecgmoe_lead_signal *l, const float *window, int64_t r);

/* Whether this lead shows no QRS complex in the beat that `ecgmoe_lead_signal_quality` was last called for. */
static inline bool ecgmoe_lead_signal_shows_no_qrs(const ecgmoe_lead_signal *l) {
    return l->quality.no_qrs;
}

#endif

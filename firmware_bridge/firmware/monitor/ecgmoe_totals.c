#include "ecgmoe_totals.h"

#include <string.h>

void ecgmoe_totals_init(ecgmoe_totals *totals, const ecgmoe_totals_constants *constants,
                        const ecgmoe_model_tasks *tasks) {
    memset(totals, 0, sizeof *totals);
    totals->constants = constants;
    totals->tasks = tasks;
}

static bool is_unusable(ecgmoe_gap_reason reason) {
    return reason == ECGMOE_GAP_NAN || reason == ECGMOE_GAP_RANGE;
}

void ecgmoe_totals_lose(ecgmoe_totals *totals, int64_t samples, ecgmoe_gap_reason reason) {
    totals->lost += samples;
    if (is_unusable(reason)) /* `ecgmoe_totals_count` will add them, since it takes them for samples that arrived */
        totals->unusable -= samples;
}

/* ------------------------------------------------------------------ delays */

#if ECGMOE_DELAY_BINS
static void add_delay(ecgmoe_totals *totals, double delay_ms) {
    long bin = lrint(100.0 * log(delay_ms > 1.0 ? delay_ms : 1.0));
    totals->delays[bin < ECGMOE_DELAY_BINS ? bin : ECGMOE_DELAY_BINS - 1]++;
}
#endif

double ecgmoe_totals_delay(const ecgmoe_totals *totals, int which) {
#if ECGMOE_DELAY_BINS
    uint32_t total = 0, seen = 0;
    for (int k = 0; k < ECGMOE_DELAY_BINS; k++)
        total += totals->delays[k];
    double rank = ceil((double)total * totals->constants->percents[which] / 100.0);
    for (int k = 0; k < ECGMOE_DELAY_BINS && total > 0; k++) {
        seen += totals->delays[k];
        if ((double)seen >= rank)
            return exp(k / 100.0);
    }
#else
    (void)totals;
    (void)which;
#endif
    return (double)NAN;
}

/* ------------------------------------------------------------------ events */

static void count_beat(ecgmoe_totals *totals, int64_t sample, const ecgmoe_beat_event *beat) {
    bool artefact = beat->reason == ECGMOE_BEAT_ARTEFACT;
    double fs = totals->constants->fs;
    if (beat->label >= 0)
        totals->beats[beat->label]++;
    else if (beat->is_poor)
        totals->poor++;
    else
        totals->unclassified++;
    totals->artefacts += artefact;
    totals->relabelled += beat->shared_label >= 0;
#if ECGMOE_DELAY_BINS
    add_delay(totals, 1000.0 * (double)(beat->ready_at - 1 - sample) / fs);
#else
    (void)sample;
#endif
    if (beat->rr > 0 && !artefact && !totals->after_artefact) {
        totals->rr_sum_ms += 1000.0 * ((double)beat->rr / fs);
        totals->rr_count++;
    }
    totals->after_artefact = artefact;
}

static void count_gap(ecgmoe_totals *totals, const ecgmoe_gap *gap) {
    int64_t lost = gap->lost > 0 ? gap->lost : 0;
    totals->gaps++;
    if (is_unusable(gap->reason) && gap->lead < 0)
        totals->unusable += lost;
    if (gap->bridged)
        totals->bridged += lost;
}

/* Add a rhythm of the model that has ended; alarms, and rhythms that still last, are left out. */
static void count_rhythm(ecgmoe_totals *totals, const ecgmoe_rhythm *rhythm) {
    if (!rhythm->ended || rhythm->kind != ECGMOE_RHYTHM_OF_MODEL)
        return;
    double duration_s = rhythm->to_s - rhythm->from_s;
    if (rhythm->rhythm != totals->tasks->noisy)
        totals->af.classified_s += duration_s;
    if (rhythm->rhythm == totals->tasks->af) {
        totals->af.af_s += duration_s;
        totals->af.episodes++;
        totals->af.longest_s = duration_s > totals->af.longest_s ? duration_s : totals->af.longest_s;
    }
}

void ecgmoe_totals_count(ecgmoe_totals *totals, const ecgmoe_event *event) {
    if (event->kind == ECGMOE_EVENT_BEAT)
        count_beat(totals, event->sample, &event->of.beat);
    else if (event->kind == ECGMOE_EVENT_GAP)
        count_gap(totals, &event->of.gap);
    else if (event->kind == ECGMOE_EVENT_RHYTHM)
        count_rhythm(totals, &event->of.rhythm);
}

double ecgmoe_totals_heart_rate(const ecgmoe_totals *totals) {
    return totals->rr_count > 0 ? 60000.0 * totals->rr_count / totals->rr_sum_ms : (double)NAN;
}

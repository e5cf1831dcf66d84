/*
 * Time without an R peak: the clock of the alarms that do not wait for the next beat.
 * Python: ecgmoe_edge/streaming/rhythm/silence.py.
 */
#ifndef ECGMOE_SILENCE_H
#define ECGMOE_SILENCE_H

#include "ecgmoe_config.h"

#define ECGMOE_SILENCE_LIMITS 2 /* pause and asystole */
/* Most R peaks whose beats are not complete yet: those of the four seconds after which the levels are learnt again,
 * and of a beat window, at least 0.18 s apart. */
#ifndef ECGMOE_MOST_WAITING
#define ECGMOE_MOST_WAITING 32
#endif

typedef struct {
    double seconds[ECGMOE_SILENCE_LIMITS]; /* (limits.pause_s, limits.asystole_s) */
    int32_t wait[ECGMOE_SILENCE_LIMITS];   /* round((seconds + CERTAIN_S) * fs) */
    double fs;
} ecgmoe_silence_constants;

/* No R peak came for a time that is one of the limits. */
typedef struct {
    int64_t known_at;
    int64_t since;   /* sample of the last R peak, or the first sample of the signal */
    double seconds;  /* the limit */
    bool after_beat; /* whether `since` is an R peak with which an RR interval can begin */
} ecgmoe_silence;

/* No lead has a signal from `sample` on. */
typedef struct {
    int64_t sample;
    bool lead_lost; /* true after lead-off, flatline or unusable samples, false after lost samples or at the end */
} ecgmoe_signal_end;

typedef struct {
    const ecgmoe_silence_constants *constants;
    int64_t now;                         /* samples that had arrived when the last beat was complete */
    int64_t since;                       /* the last beat, or the begin of the signal */
    uint32_t peaks[ECGMOE_MOST_WAITING]; /* R peaks whose beats are not complete yet: a ring; their last 32 bits, since
                                            only differences of less than 2^31 samples count */
    uint8_t first, waiting;              /* of the ring */
    uint8_t reported;                    /* number of limits that have passed since then */
    bool after_beat;
    bool running;
} ecgmoe_silence_clock;

/* The functions are called in the order of `known_at`. */
void ecgmoe_silence_init(ecgmoe_silence_clock *clock, const ecgmoe_silence_constants *constants);
void ecgmoe_silence_stop(ecgmoe_silence_clock *clock);
void ecgmoe_silence_start(ecgmoe_silence_clock *clock, int64_t at);
/* Note an R peak at sample `r`, the beat of which is not complete yet. */
void ecgmoe_silence_peak(ecgmoe_silence_clock *clock, int64_t r);
/* Note that the beat of the first of these R peaks is complete; `is_beat`: it is no peak of noise. */
void ecgmoe_silence_beat(ecgmoe_silence_clock *clock, int64_t r, int64_t ready_at, bool is_beat, bool begins_rr);
/* Samples that must have arrived before the next limit passes; ECGMOE_NEVER if none can. */
int64_t ecgmoe_silence_due(const ecgmoe_silence_clock *clock);
/* Write the limits that have passed once `arrived` samples have arrived, at most ECGMOE_SILENCE_LIMITS; their
 * number. */
int ecgmoe_silence_run(ecgmoe_silence_clock *clock, int64_t arrived, ecgmoe_silence out[ECGMOE_SILENCE_LIMITS]);

#endif

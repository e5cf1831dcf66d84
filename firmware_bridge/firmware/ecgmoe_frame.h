/*
 * The device's side of the "ecgmoe" serial protocol, version 1 (docs/serial-protocol.md): C99, no dynamic memory.
 * Frames are written into a buffer of the caller. `ecgmoe_ring` is a ring buffer between an interrupt that samples and
 * a main loop that sends. If it is full, samples are dropped and counted; the next frame reports their number.
 */
#ifndef ECGMOE_FRAME_H
#define ECGMOE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef ECGMOE_RING_LEADS
#define ECGMOE_RING_LEADS 2 /* leads per slot of the ring */
#endif
#ifndef ECGMOE_RING_SLOTS
#define ECGMOE_RING_SLOTS 32 /* samples in the ring: a power of two, at most 128 */
#endif

#define ECGMOE_FRAME_MAX_LEADS 16
#define ECGMOE_MAX_BODY 1024    /* bytes of a frame before stuffing, including its CRC */
#define ECGMOE_NONE (-8388608L) /* code of a value that was not measured */
#define ECGMOE_START 'S'        /* command from the host: start, with an info frame first */
#define ECGMOE_PAUSE 'P'        /* command from the host: stop sending */

/* Largest size in bytes of a samples frame (n samples of k leads) and of an info frame (k leads), after stuffing. */
#define ECGMOE_SAMPLES_BYTES(k, n) (27u + 3u * (k) * (n) + (25u + 3u * (k) * (n)) / 254u)
#define ECGMOE_INFO_BYTES(k) (68u + 21u * (k))

typedef struct {
    const char *name; /* UTF-8, up to 16 bytes */
    uint32_t picovolts_per_step;
} ecgmoe_lead;

/* A stream and its counters. Set the first group of fields; initialise the second group to 0. */
typedef struct {
    uint32_t rate_numerator, rate_denominator; /* Hz */
    const ecgmoe_lead *leads;
    uint8_t n_leads;
    const char *device; /* UTF-8, up to 32 bytes */
    uint16_t run;       /* a different number at each start: a boot counter or a random number */

    uint16_t counter;  /* frames sent so far */
    uint32_t index;    /* samples (per lead) measured so far, including dropped ones */
    uint32_t overflow; /* samples (per lead) dropped so far, because the ring was full */
} ecgmoe_stream;

/*
 * Each function writes one frame to `out` and returns its size in bytes. If `capacity` is too small or an argument is
 * out of range, it returns 0 and changes no counter. `clock_us`: time of the frame's first (or the next) sample,
 * microseconds; it may wrap. Send an info frame (rate, leads, scale) at the start, after ECGMOE_START, once a second.
 */
size_t ecgmoe_info(ecgmoe_stream *stream, uint32_t clock_us, uint8_t *out, size_t capacity);
/* `n` samples of all leads, sample by sample; clipped at +-8388607. Bit i of `lead_off`: lead i is off. */
size_t ecgmoe_samples(ecgmoe_stream *stream, uint32_t clock_us, uint16_t lead_off, const int32_t *values, uint8_t n,
                      uint8_t *out, size_t capacity);
/* The recording is over. */
size_t ecgmoe_end(ecgmoe_stream *stream, uint32_t clock_us, uint8_t *out, size_t capacity);
/* Count `n` samples (per lead) that were measured and dropped before the next frame. */
void ecgmoe_dropped(ecgmoe_stream *stream, uint32_t n);
/* Decode in place the bytes between two zeros. Returns the size of the body without its CRC; 0 if damaged. */
size_t ecgmoe_open(uint8_t *bytes, size_t n);

typedef struct {
    uint32_t clock_us;
    uint32_t dropped; /* samples dropped in total when this one was stored */
    uint16_t lead_off;
    int32_t values[ECGMOE_RING_LEADS];
} ecgmoe_slot;

/* Samples between an interrupt and the main loop; needs no lock. Initialise it to 0. */
typedef struct {
    volatile ecgmoe_slot slots[ECGMOE_RING_SLOTS];
    volatile uint8_t put, taken; /* count up and wrap; the difference is the number of waiting samples */
    volatile uint32_t dropped;   /* samples dropped because the ring was full */
} ecgmoe_ring;

/* In the interrupt: store one sample of all leads. If the ring is full, counts it as dropped and returns false. */
bool ecgmoe_ring_put(ecgmoe_ring *ring, const ecgmoe_stream *stream, uint32_t clock_us, uint16_t lead_off,
                     const int32_t *values);
/* Number of waiting samples. */
uint8_t ecgmoe_ring_waiting(const ecgmoe_ring *ring);
/* In the main loop: move up to `most` waiting samples into one frame. Returns its size; 0 if no sample waits. */
size_t ecgmoe_ring_frame(ecgmoe_ring *ring, ecgmoe_stream *stream, uint8_t most, uint8_t *out, size_t capacity);
/* After sampling has stopped and the ring is empty, before `ecgmoe_end`: count the samples dropped last. */
void ecgmoe_ring_settle(const ecgmoe_ring *ring, ecgmoe_stream *stream);

#ifdef __cplusplus
}
#endif
#endif

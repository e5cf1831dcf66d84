/*
 * The device's side of the "ecgmoe" serial protocol, version 1 (docs/serial-protocol.md): C99, no allocation.
 * Frames are written straight into the caller's bytes. `ecgmoe_ring` lies between an interrupt that samples and a main
 * loop that sends: what finds it full is counted, and the next frame says so at the place where it is missing.
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
#define ECGMOE_RING_LEADS 2 /* leads that a slot of the ring has room for */
#endif
#ifndef ECGMOE_RING_SLOTS
#define ECGMOE_RING_SLOTS 32 /* samples that may wait: a power of two, at most 128 */
#endif

#define ECGMOE_MAX_LEADS 16
#define ECGMOE_MAX_BODY 1024    /* bytes of a frame before stuffing, its CRC included */
#define ECGMOE_NONE (-8388608L) /* a value that was not measured */
#define ECGMOE_START 'S'        /* command from the host: somebody reads from now on, begin with an info frame */
#define ECGMOE_PAUSE 'P'        /* command from the host: nobody reads */

/* Bytes on the line, at most: of a samples frame of n samples of k leads, of an info frame of k leads. */
#define ECGMOE_SAMPLES_BYTES(k, n) (27u + 3u * (k) * (n) + (25u + 3u * (k) * (n)) / 254u)
#define ECGMOE_INFO_BYTES(k) (68u + 21u * (k))

typedef struct {
    const char *name; /* UTF-8, up to 16 bytes */
    uint32_t picovolts_per_step;
} ecgmoe_lead;

/* A stream and its counters. Set the first part, zero the second. */
typedef struct {
    uint32_t rate_numerator, rate_denominator; /* Hz */
    const ecgmoe_lead *leads;
    uint8_t n_leads;
    const char *device; /* UTF-8, up to 32 bytes */
    uint16_t run;       /* another number at each start: a boot counter, or random */

    uint16_t counter;  /* frames so far */
    uint32_t index;    /* samples (per lead) measured so far, dropped ones included */
    uint32_t overflow; /* of these, dropped since there was no room */
} ecgmoe_stream;

/*
 * Each writes one frame to `out` and gives its bytes; 0, and nothing is changed, where `capacity` is too small or the
 * arguments are such as no frame can hold. `clock_us`: microseconds at the frame's first (or next) sample; it may wrap.
 * Info, with rate, leads and scale: at the start, after ECGMOE_START, and once a second.
 */
size_t ecgmoe_info(ecgmoe_stream *stream, uint32_t clock_us, uint8_t *out, size_t capacity);
/* `n` samples of all leads, sample by sample; beyond +-8388607 they are clipped. Bit i of `lead_off`: lead i is off. */
size_t ecgmoe_samples(ecgmoe_stream *stream, uint32_t clock_us, uint16_t lead_off, const int32_t *values, uint8_t n,
                      uint8_t *out, size_t capacity);
/* The recording is over. */
size_t ecgmoe_end(ecgmoe_stream *stream, uint32_t clock_us, uint8_t *out, size_t capacity);
/* `n` samples (per lead) were measured and dropped, before those that are sent next. */
void ecgmoe_dropped(ecgmoe_stream *stream, uint32_t n);
/* Undo a frame in place, as it came between two zeros: gives the bytes of its body without the CRC, 0 if damaged. */
size_t ecgmoe_open(uint8_t *bytes, size_t n);

typedef struct {
    uint32_t clock_us;
    uint32_t dropped; /* all that had been dropped when this one was put */
    uint16_t lead_off;
    int32_t values[ECGMOE_RING_LEADS];
} ecgmoe_slot;

/* Samples on their way from an interrupt to the main loop, which need no lock. Zero it before use. */
typedef struct {
    volatile ecgmoe_slot slots[ECGMOE_RING_SLOTS];
    volatile uint8_t put, taken; /* count up and wrap; the difference is what waits */
    volatile uint32_t dropped;   /* that found no room */
} ecgmoe_ring;

/* From the interrupt: one sample of all leads. False if there was no room; it is counted. */
bool ecgmoe_ring_put(ecgmoe_ring *ring, const ecgmoe_stream *stream, uint32_t clock_us, uint16_t lead_off,
                     const int32_t *values);
/* Samples that wait. */
uint8_t ecgmoe_ring_waiting(const ecgmoe_ring *ring);
/* From the main loop: one frame of up to `most` of the samples that wait; they are taken. 0 if none waits. */
size_t ecgmoe_ring_frame(ecgmoe_ring *ring, ecgmoe_stream *stream, uint8_t most, uint8_t *out, size_t capacity);
/* Once sampling has stopped and the ring is empty, before `ecgmoe_end`: count what was dropped last. */
void ecgmoe_ring_settle(const ecgmoe_ring *ring, ecgmoe_stream *stream);

#ifdef __cplusplus
}
#endif
#endif

/* A simulated recording, identical on every machine: an interrupt that samples, a main loop that is sometimes slow. */
#include "session.h"

#include "ecgmoe_frame.h"

static uint32_t state = 1;

static uint32_t chance(uint32_t below) { /* generator of Numerical Recipes; only its high bits are random enough */
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % below;
}

uint32_t play(uint32_t samples, void (*send)(const uint8_t *bytes, size_t n)) {
    static const ecgmoe_lead leads[2] = {{"II", 48081}, {"V1", 48081}};
    static uint8_t out[ECGMOE_SAMPLES_BYTES(2, 25)];
    static ecgmoe_ring ring;
    ecgmoe_stream stream = {250, 1, leads, 2, "bench", 7, 0, 0, 0};
    uint32_t refused = 0;
    uint16_t lead_off = 0;
    send(out, ecgmoe_info(&stream, 0, out, sizeof out));
    for (uint32_t i = 0; i < samples; i++) {
        int32_t values[2] = {(int32_t)i - 10000, chance(50) == 0 ? ECGMOE_NONE : (int32_t)chance(60000) * 100};
        if (chance(300) == 0)
            lead_off ^= 2;
        if (!ecgmoe_ring_put(&ring, &stream, i * 4000, lead_off, values))
            refused++;
        if (chance(40) == 0 || i % 2000 > 1900) /* busy: briefly at random, long every 8 s */
            continue;
        if (i % 250 == 0)
            send(out, ecgmoe_info(&stream, i * 4000, out, sizeof out));
        if (ecgmoe_ring_waiting(&ring) >= 10)
            send(out, ecgmoe_ring_frame(&ring, &stream, 10, out, sizeof out));
    }
    while (ecgmoe_ring_waiting(&ring) > 0)
        send(out, ecgmoe_ring_frame(&ring, &stream, 25, out, sizeof out));
    ecgmoe_ring_settle(&ring, &stream);
    send(out, ecgmoe_end(&stream, samples * 4000, out, sizeof out));
    return refused;
}

#include "ecgmoe_frame.h"

enum { VERSION = 1, INFO = 1, SAMPLES = 2, END = 3, HEADER_BYTES = 17, CRC_BYTES = 4, MAX_NAME = 16, MAX_DEVICE = 32 };

/* State while a frame is written: COBS, byte by byte (Cheshire and Baker, 1999), and the CRC of the bytes so far. */
typedef struct {
    uint8_t *out;
    size_t capacity, at, piece; /* position of the next byte, and of the current piece's length byte */
    uint32_t crc;
    bool full;
} writer;

static uint32_t crc_of(uint32_t crc, uint8_t byte) {
    static const uint32_t table[16] = {0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
                                       0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
                                       0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
    crc ^= byte;
    crc = crc >> 4 ^ table[crc & 15u];
    return crc >> 4 ^ table[crc & 15u];
}

static void put_raw(writer *w, uint8_t byte) {
    w->full = w->full || w->at == w->capacity;
    if (!w->full)
        w->out[w->at++] = byte;
}

static void end_piece(writer *w) {
    if (!w->full)
        w->out[w->piece] = (uint8_t)(w->at - w->piece);
    w->piece = w->at;
    put_raw(w, 0); /* the length byte of the next piece, or the delimiter */
}

static void put(writer *w, uint32_t value, unsigned bytes) {
    for (; bytes > 0; bytes--, value >>= 8) {
        uint8_t byte = (uint8_t)(value & 255u);
        w->crc = crc_of(w->crc, byte);
        if (byte != 0)
            put_raw(w, byte);
        if (byte == 0 || w->at - w->piece == 255)
            end_piece(w);
    }
}

static size_t length_of(const char *text) {
    size_t n = 0;
    while (text[n] != '\0')
        n++;
    return n;
}

static void put_text(writer *w, const char *text) {
    put(w, (uint32_t)length_of(text), 1);
    for (; *text != '\0'; text++)
        put(w, (uint8_t)*text, 1);
}

static void begin(writer *w, const ecgmoe_stream *stream, uint8_t kind, uint32_t clock, uint8_t *out, size_t capacity) {
    *w = (writer){out, capacity, 0, 0, 0xFFFFFFFFu, false};
    if (kind == INFO)
        put_raw(w, 0); /* ends any text from a boot loader */
    w->piece = w->at;
    put_raw(w, 0);
    put(w, (uint32_t)(VERSION << 4 | kind), 1);
    put(w, stream->run, 2);
    put(w, stream->counter, 2);
    put(w, stream->index, 4);
    put(w, clock, 4);
    put(w, stream->overflow, 4);
}

static void put_value(writer *w, int32_t value) {
    if (value != ECGMOE_NONE)
        value = value > 8388607 ? 8388607 : value < -8388607 ? -8388607 : value;
    put(w, (uint32_t)value, 3);
}

static size_t finish(writer *w, ecgmoe_stream *stream, uint8_t n) {
    put(w, w->crc ^ 0xFFFFFFFFu, CRC_BYTES);
    end_piece(w);
    if (w->full)
        return 0;
    stream->counter++;
    stream->index += n;
    return w->at;
}

static bool fits(const ecgmoe_stream *stream, uint8_t n) {
    return stream->n_leads >= 1 && stream->n_leads <= ECGMOE_FRAME_MAX_LEADS && n >= 1 &&
           HEADER_BYTES + 4u + 3u * stream->n_leads * n + CRC_BYTES <= ECGMOE_MAX_BODY;
}

size_t ecgmoe_info(ecgmoe_stream *stream, uint32_t clock_us, uint8_t *out, size_t capacity) {
    writer w;
    if (!fits(stream, 1) || stream->rate_denominator == 0 || length_of(stream->device) > MAX_DEVICE)
        return 0;
    begin(&w, stream, INFO, clock_us, out, capacity);
    put(&w, stream->rate_numerator, 4);
    put(&w, stream->rate_denominator, 4);
    put(&w, stream->n_leads, 1);
    for (uint8_t i = 0; i < stream->n_leads; i++) {
        if (length_of(stream->leads[i].name) > MAX_NAME || stream->leads[i].picovolts_per_step == 0)
            return 0;
        put(&w, stream->leads[i].picovolts_per_step, 4);
        put_text(&w, stream->leads[i].name);
    }
    put_text(&w, stream->device);
    return finish(&w, stream, 0);
}

size_t ecgmoe_samples(ecgmoe_stream *stream, uint32_t clock_us, uint16_t lead_off, const int32_t *values, uint8_t n,
                      uint8_t *out, size_t capacity) {
    writer w;
    if (!fits(stream, n))
        return 0;
    begin(&w, stream, SAMPLES, clock_us, out, capacity);
    put(&w, lead_off, 2);
    put(&w, (uint32_t)n << 8 | stream->n_leads, 2);
    for (size_t i = 0; i < (size_t)n * stream->n_leads; i++)
        put_value(&w, values[i]);
    return finish(&w, stream, n);
}

size_t ecgmoe_end(ecgmoe_stream *stream, uint32_t clock_us, uint8_t *out, size_t capacity) {
    writer w;
    begin(&w, stream, END, clock_us, out, capacity);
    return finish(&w, stream, 0);
}

void ecgmoe_dropped(ecgmoe_stream *stream, uint32_t n) {
    stream->index += n;
    stream->overflow += n;
}

size_t ecgmoe_open(uint8_t *bytes, size_t n) {
    size_t from = 0, to = 0; /* decoded in place: the result is never longer */
    uint32_t crc = 0xFFFFFFFFu;
    while (from < n) {
        size_t end = from + bytes[from];
        bool zero_follows = bytes[from] < 255 && end < n;
        if (end == from || end > n)
            return 0;
        for (from++; from < end; from++)
            bytes[to++] = bytes[from];
        if (zero_follows)
            bytes[to++] = 0;
    }
    if (to < HEADER_BYTES + CRC_BYTES || to > ECGMOE_MAX_BODY)
        return 0;
    for (size_t i = 0; i < to; i++)
        crc = crc_of(crc, bytes[i]);
    return crc == 0xDEBB20E3u ? to - CRC_BYTES : 0; /* CRC of any content followed by its own CRC */
}

bool ecgmoe_ring_put(ecgmoe_ring *ring, const ecgmoe_stream *stream, uint32_t clock_us, uint16_t lead_off,
                     const int32_t *values) {
    volatile ecgmoe_slot *slot = &ring->slots[ring->put % ECGMOE_RING_SLOTS];
    if (ecgmoe_ring_waiting(ring) >= ECGMOE_RING_SLOTS) {
        ring->dropped = ring->dropped + 1;
        return false;
    }
    slot->clock_us = clock_us;
    slot->dropped = ring->dropped;
    slot->lead_off = lead_off;
    for (uint8_t i = 0; i < stream->n_leads && i < ECGMOE_RING_LEADS; i++)
        slot->values[i] = values[i];
    ring->put = (uint8_t)(ring->put + 1); /* last, because from now on the main loop may read it */
    return true;
}

uint8_t ecgmoe_ring_waiting(const ecgmoe_ring *ring) { return (uint8_t)(ring->put - ring->taken); }

size_t ecgmoe_ring_frame(ecgmoe_ring *ring, ecgmoe_stream *stream, uint8_t most, uint8_t *out, size_t capacity) {
    writer w;
    ecgmoe_stream before = *stream;
    uint8_t n = 0, waiting = ecgmoe_ring_waiting(ring), taken = ring->taken;
    const volatile ecgmoe_slot *first = &ring->slots[taken % ECGMOE_RING_SLOTS];
    while (n < waiting && n < most) { /* no gap and no change of lead_off within a frame */
        const volatile ecgmoe_slot *slot = &ring->slots[(uint8_t)(taken + n) % ECGMOE_RING_SLOTS];
        if (slot->dropped != first->dropped || slot->lead_off != first->lead_off)
            break;
        n++;
    }
    if (n == 0 || stream->n_leads > ECGMOE_RING_LEADS || !fits(stream, n))
        return 0;
    ecgmoe_dropped(stream, first->dropped - stream->overflow);
    begin(&w, stream, SAMPLES, first->clock_us, out, capacity);
    put(&w, first->lead_off, 2);
    put(&w, (uint32_t)n << 8 | stream->n_leads, 2);
    for (uint8_t i = 0; i < n; i++)
        for (uint8_t lead = 0; lead < stream->n_leads; lead++)
            put_value(&w, ring->slots[(uint8_t)(taken + i) % ECGMOE_RING_SLOTS].values[lead]);
    if (finish(&w, stream, n) == 0) {
        *stream = before;
        return 0;
    }
    ring->taken = (uint8_t)(taken + n);
    return w.at;
}

void ecgmoe_ring_settle(const ecgmoe_ring *ring, ecgmoe_stream *stream) {
    ecgmoe_dropped(stream, ring->dropped - stream->overflow);
}

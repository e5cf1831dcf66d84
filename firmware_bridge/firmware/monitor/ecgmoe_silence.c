#include "ecgmoe_silence.h"

static void begin_silence(ecgmoe_silence_clock *clock, int64_t since, bool after_beat) {
    clock->since = since;
    clock->after_beat = after_beat;
    clock->reported = 0;
}

void ecgmoe_silence_init(ecgmoe_silence_clock *clock, const ecgmoe_silence_constants *constants) {
    clock->constants = constants;
    ecgmoe_silence_stop(clock);
}

void ecgmoe_silence_stop(ecgmoe_silence_clock *clock) {
    clock->running = false;
    clock->now = 0;
    clock->first = clock->waiting = 0;
    begin_silence(clock, 0, false);
}

void ecgmoe_silence_start(ecgmoe_silence_clock *clock, int64_t at) {
    clock->running = true;
    begin_silence(clock, at, false);
}

void ecgmoe_silence_peak(ecgmoe_silence_clock *clock, int64_t r) {
    if (clock->waiting == ECGMOE_MOST_WAITING)
        return;
    clock->peaks[(clock->first + clock->waiting) % ECGMOE_MOST_WAITING] = (uint32_t)r;
    clock->waiting++;
}

void ecgmoe_silence_beat(ecgmoe_silence_clock *clock, int64_t r, int64_t ready_at, bool is_beat, bool begins_rr) {
    if (clock->waiting > 0) {
        clock->first = (uint8_t)((clock->first + 1) % ECGMOE_MOST_WAITING);
        clock->waiting--;
    }
    clock->now = ready_at;
    if (is_beat)
        begin_silence(clock, r, begins_rr);
}

int64_t ecgmoe_silence_due(const ecgmoe_silence_clock *clock) {
    if (!clock->running || clock->reported == ECGMOE_SILENCE_LIMITS)
        return ECGMOE_NEVER;
    double limit = clock->constants->seconds[clock->reported] * clock->constants->fs;
    int32_t after = (int32_t)(clock->peaks[clock->first] - (uint32_t)clock->since);
    if (clock->waiting > 0 && after <= limit)
        return ECGMOE_NEVER;
    return ecgmoe_max_i64(clock->since + clock->constants->wait[clock->reported], clock->now);
}

int ecgmoe_silence_run(ecgmoe_silence_clock *clock, int64_t arrived, ecgmoe_silence out[ECGMOE_SILENCE_LIMITS]) {
    int count = 0;
    for (int64_t due = ecgmoe_silence_due(clock); due <= arrived; due = ecgmoe_silence_due(clock)) {
        ecgmoe_silence *silence = &out[count++];
        silence->known_at = due;
        silence->since = clock->since;
        silence->seconds = clock->constants->seconds[clock->reported++];
        silence->after_beat = clock->after_beat;
    }
    return count;
}

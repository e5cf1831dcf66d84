/*
 * Runs the monitor over a disturbed signal: fuzz_monitor TABLES SIGNAL LEADS PEAKS_ONLY SEED SAMPLES.
 *
 * TABLES: the numbers of ecgmoe_tables as doubles. SIGNAL: one lead, doubles in mV, repeated. Samples become NaN, huge,
 * constant, noise or spikes at random; gaps, leads off, ends of the stream and answers of the model come at random, too.
 * With SEED 0, the signal is left as it is.
 * It fails if something had no room, or a number of a sample is impossible; the sanitizers see the rest.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ecgmoe_monitor.h"

#include "_fill.h"

static uint64_t state;

static uint32_t random_bits(void) { /* xorshift* */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * UINT64_C(2685821657736338717)) >> 32);
}

static int below(int n) {
    return (int)(random_bits() % (uint32_t)n);
}

static double uniform(void) {
    return random_bits() / 4294967296.0;
}

static void fail(const char *why, int64_t at) {
    printf("%s at sample %lld\n", why, (long long)at);
    exit(1);
}

static double *numbers_of(const char *path, long *n) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        fail("a file cannot be read", 0);
    *n = ftell(file) / (long)sizeof(double);
    rewind(file);
    double *numbers = malloc((size_t)*n * sizeof(double));
    if (!numbers || fread(numbers, sizeof(double), (size_t)*n, file) != (size_t)*n)
        fail("a file cannot be read", 0);
    fclose(file);
    return numbers;
}

static float outputs[ECGMOE_MOST_OUTPUTS][ECGMOE_MOST_VIEWS * ECGMOE_MOST_CLASSES];

static void answer_at_random(ecgmoe_answer *answer) {
    for (int i = 0; i < ECGMOE_MOST_OUTPUTS; i++) {
        for (int j = 0; j < ECGMOE_MOST_VIEWS * ECGMOE_MOST_CLASSES; j++) {
            outputs[i][j] = (float)(20.0 * uniform() - 10.0);
            if (below(2000) == 0)
                outputs[i][j] = below(2) ? NAN : 1e30f;
        }
        answer->outputs[i] = outputs[i];
    }
}

static ecgmoe_monitor monitor;
static ecgmoe_tables tables;
static long counts[ECGMOE_EVENT_LEAD_CHANGE + 1];

static void take_all(void) {
    ecgmoe_event event;
    ecgmoe_step step;
    while ((step = ecgmoe_monitor_next(&monitor, &event)) != ECGMOE_NOTHING) {
        if (step == ECGMOE_PENDING) {
            ecgmoe_answer answer;
            answer_at_random(&answer);
            ecgmoe_monitor_answer(&monitor, &answer);
            continue;
        }
        int64_t position = ecgmoe_front_end_position(&monitor.front_end);
        if (event.sample < 0 || event.sample > position)
            fail("an event at an impossible sample", event.sample);
        if (event.kind == ECGMOE_EVENT_BEAT && event.of.beat.ready_at > position)
            fail("a beat before its time", event.sample);
        counts[event.kind]++;
    }
    if (monitor.front_end.queue.dropped || monitor.front_end.builder.dropped)
        fail("an item without room", ecgmoe_front_end_position(&monitor.front_end));
}

static void disturb_stream(int n_leads) {
    int what = below(12);
    if (what == 0)
        ecgmoe_monitor_flush(&monitor);
    else if (what == 1)
        ecgmoe_monitor_lead_off(&monitor, (uint8_t)below(1 << n_leads));
    else if (what < 4)
        ecgmoe_monitor_lead_off(&monitor, 0);
    else if (what < 11)
        ecgmoe_monitor_gap(&monitor, below(4) ? below(60) : below(2) ? -1 : below(100000),
                           (ecgmoe_gap_reason)below(7), below(4) == 0);
    else
        ecgmoe_monitor_reset(&monitor);
    take_all();
}

int main(int argc, char **argv) {
    long n_values, n_signal;
    if (argc != 7)
        return 2;
    double *values = numbers_of(argv[1], &n_values), *signal = numbers_of(argv[2], &n_signal);
    const int n_leads = atoi(argv[3]);
    const unsigned long long seed = strtoull(argv[5], NULL, 10);
    state = seed * UINT64_C(88172645463325252) + 1;
    if (n_values != FILL_COUNT)
        return 2;
    fill_tables(&tables, values);
    if (!ecgmoe_monitor_init(&monitor, &tables, n_leads, atoi(argv[4]) != 0))
        return 2;
    int kinds[ECGMOE_MAX_LEADS] = {0};
    double held[ECGMOE_MAX_LEADS] = {0};
    const long samples = atol(argv[6]);
    for (long i = 0; i < samples; i++) {
        ecgmoe_real x[ECGMOE_MAX_LEADS];
        for (int k = 0; k < n_leads; k++) {
            double y = signal[(i + 7 * k) % n_signal] * (k ? -0.5 : 1.0);
            if (seed && below(300) == 0) /* another kind of disturbance, mostly none */
                kinds[k] = below(3) ? 0 : below(9);
            if (kinds[k] == 1)
                y = NAN;
            else if (kinds[k] == 2)
                y = (below(2) ? 1 : -1) * 1e8;
            else if (kinds[k] == 3)
                y = held[k];
            else if (kinds[k] == 4)
                y += 3.0 * uniform();
            else if (kinds[k] == 5)
                y += below(40) ? 0.0 : 4.0 * uniform();
            else if (kinds[k] == 6)
                y = below(20) ? y : NAN;
            else if (kinds[k] == 7)
                y = y > 0.2 ? 0.2 : y;
            else if (kinds[k] == 8)
                y *= 1e6;
            held[k] = y;
            x[k] = (ecgmoe_real)y;
        }
        ecgmoe_monitor_push(&monitor, x);
        take_all();
        if (seed && below(3000) == 0)
            disturb_stream(n_leads);
    }
    ecgmoe_monitor_flush(&monitor);
    take_all();
    for (int i = 0; i <= ECGMOE_EVENT_LEAD_CHANGE; i++)
        printf("%ld ", counts[i]);
    free(values);
    free(signal);
    return 0;
}

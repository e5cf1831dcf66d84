#include "ecgmoe_lead_history.h"

#include <string.h>

#include "ecgmoe_median.h"

#if ECGMOE_TEMPLATE_BEATS != 16
#error "The sorting network below is for 16 windows."
#endif

/* Points of the window whose median is taken at once: the same steps for each of them, so that a compiler can use
 * vector instructions. */
#define LANES 8

/* Steps of the logarithm of a stored quality in a unit of it, downwards from the quality `alike_from`; 255 is the
 * least. */
#ifdef ECGMOE_REAL_FLOAT
#define STORED_STEPS ECGMOE_R(25.0)
#endif

void ecgmoe_lead_history_init(ecgmoe_lead_history *history, const ecgmoe_lead_history_constants *constants) {
    memset(history, 0, sizeof *history);
    history->constants = constants;
}

/* ------------------------------------------------------------------ stored numbers */

static void store_window(ecgmoe_lead_history *h, const float window[ECGMOE_GRID]) {
    ecgmoe_stored_point *out = h->windows[h->next_window];
#ifdef ECGMOE_REAL_FLOAT
    float largest = 0;
    for (int32_t i = 0; i < ECGMOE_GRID; i++)
        largest = fabsf(window[i]) > largest ? fabsf(window[i]) : largest;
    float scale = largest / (float)INT16_MAX;
    for (int32_t i = 0; i < ECGMOE_GRID; i++)
        out[i] = (ecgmoe_stored_point)(scale > 0 ? lrintf(window[i] / scale) : 0);
    h->scales[h->next_window] = scale;
#else
    memcpy(out, window, ECGMOE_GRID * sizeof window[0]);
    h->scales[h->next_window] = 1;
#endif
    h->next_window = (uint8_t)((h->next_window + 1) % ECGMOE_TEMPLATE_BEATS);
    if (h->windows_held < ECGMOE_TEMPLATE_BEATS)
        h->windows_held++;
}

/* From this quality on, qualities are alike: even if the other one in the middle is 0, `least_share` of their mean is
 * `least_quality`, which is the limit then in any case. */
static ecgmoe_real alike_from(const ecgmoe_lead_history *h) {
    return 2 * h->constants->least_quality / h->constants->least_share;
}

static void store_quality(ecgmoe_lead_history *h, ecgmoe_real quality) {
#ifdef ECGMOE_REAL_FLOAT
    ecgmoe_real share = ecgmoe_min(ecgmoe_max(quality / alike_from(h), FLT_MIN), 1);
    ecgmoe_real steps = ecgmoe_rint(-STORED_STEPS * ecgmoe_log(share));
    h->qualities[h->next_quality] = (ecgmoe_stored_quality)ecgmoe_min(steps, UINT8_MAX);
#else
    h->qualities[h->next_quality] = ecgmoe_min(quality, alike_from(h));
#endif
    h->next_quality = (uint16_t)((h->next_quality + 1) % ECGMOE_QUALITY_BEATS);
    if (h->qualities_held < ECGMOE_QUALITY_BEATS)
        h->qualities_held++;
}

static ecgmoe_real stored_quality(const ecgmoe_lead_history *h, int32_t i) {
#ifdef ECGMOE_REAL_FLOAT
    return alike_from(h) * ecgmoe_exp((ecgmoe_real)h->qualities[i] / -STORED_STEPS);
#else
    return h->qualities[i];
#endif
}

/* ------------------------------------------------------------------ template */

/* Pairs of rows that are put in order one after the other: those comparisons of Batcher's odd-even merge sort on which
 * the two rows in the middle depend. */
static const uint8_t SELECTION_NETWORK[53][2] = {
    {0, 1}, {2, 3}, {4, 5}, {6, 7}, {8, 9}, {10, 11}, {12, 13}, {14, 15}, {0, 2}, {1, 3}, {4, 6}, {5, 7}, {8, 10},
    {9, 11}, {12, 14}, {13, 15}, {1, 2}, {5, 6}, {9, 10}, {13, 14}, {0, 4}, {1, 5}, {2, 6}, {3, 7}, {8, 12}, {9, 13},
    {10, 14}, {11, 15}, {2, 4}, {3, 5}, {10, 12}, {11, 13}, {1, 2}, {3, 4}, {5, 6}, {9, 10}, {11, 12}, {13, 14},
    {0, 8}, {1, 9}, {2, 10}, {3, 11}, {4, 12}, {5, 13}, {6, 14}, {7, 15}, {4, 8}, {5, 9}, {6, 10}, {7, 11}, {6, 8},
    {7, 9}, {7, 8},
};
#define LOWER (ECGMOE_TEMPLATE_BEATS / 2 - 1) /* the rows in the middle */
#define UPPER (ECGMOE_TEMPLATE_BEATS / 2)

/* A number with the order of floats: the bits of a float, all but the sign inverted if it is negative. Integers are
 * compared without a branch; its compiled form hardly depends on compiler and processor. */
static int32_t key_of(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits ^ (bits < 0 ? INT32_MAX : 0);
}

static float float_of(int32_t key) {
    float x;
    key ^= key < 0 ? INT32_MAX : 0;
    memcpy(&x, &key, sizeof x);
    return x;
}

static void order(int32_t *restrict low, int32_t *restrict high) {
    for (int32_t i = 0; i < LANES; i++) {
        int32_t exchange = (low[i] ^ high[i]) & -(low[i] > high[i]);
        low[i] ^= exchange;
        high[i] ^= exchange;
    }
}

/* Write the windows at points [begin, begin + LANES). Missing windows are very large and very small in turn, so that the
 * median of all rows is that of the windows; of an odd number of windows, one more row is very large. */
static void read_rows(const ecgmoe_lead_history *h, int32_t begin, int32_t rows[ECGMOE_TEMPLATE_BEATS][LANES]) {
    int32_t n = begin + LANES <= ECGMOE_GRID ? LANES : ECGMOE_GRID - begin;
    for (int32_t beat = 0; beat < ECGMOE_TEMPLATE_BEATS; beat++) {
        int32_t missing = (beat - h->windows_held) % 2 == 0 ? INT32_MAX : INT32_MIN;
        if (beat >= h->windows_held)
            n = 0;
        for (int32_t i = 0; i < n; i++)
            rows[beat][i] = key_of((float)h->windows[beat][begin + i] * h->scales[beat]);
        for (int32_t i = n; i < LANES; i++)
            rows[beat][i] = missing;
    }
}

void ecgmoe_lead_history_template(const ecgmoe_lead_history *history, const float window[ECGMOE_GRID],
                                  float out[ECGMOE_GRID]) {
    if (history->windows_held == 0) {
        memcpy(out, window, ECGMOE_GRID * sizeof out[0]);
        return;
    }
    bool odd = history->windows_held % 2 != 0;
    for (int32_t begin = 0; begin < ECGMOE_GRID; begin += LANES) {
        int32_t rows[ECGMOE_TEMPLATE_BEATS][LANES];
        read_rows(history, begin, rows);
        for (size_t k = 0; k < sizeof SELECTION_NETWORK / sizeof SELECTION_NETWORK[0]; k++)
            order(rows[SELECTION_NETWORK[k][0]], rows[SELECTION_NETWORK[k][1]]);
        for (int32_t i = 0; i < LANES && begin + i < ECGMOE_GRID; i++) {
            float lower = float_of(rows[LOWER][i]);
            out[begin + i] = odd ? lower : 0.5F * (lower + float_of(rows[UPPER][i]));
        }
    }
}

/* ------------------------------------------------------------------ amplitude and quality */

static float own_amplitude(const ecgmoe_lead_history *h, const float window[ECGMOE_GRID]) {
    float largest = 0;
    for (int32_t i = h->constants->near_begin; i < h->constants->near_end; i++)
        largest = fabsf(window[i]) > largest ? fabsf(window[i]) : largest;
    return largest;
}

float ecgmoe_lead_history_amplitude(const ecgmoe_lead_history *history, const float window[ECGMOE_GRID]) {
    if (history->amplitudes_held == 0)
        return own_amplitude(history, window);
    ecgmoe_real ordered[ECGMOE_AMPLITUDE_BEATS];
    for (int32_t i = 0; i < history->amplitudes_held; i++)
        ordered[i] = (ecgmoe_real)history->amplitudes[i];
    return (float)ecgmoe_median_of(ordered, history->amplitudes_held);
}

/*
 * Whether a quality is at least `least_quality`, or at least `least_share` of the median quality. The median itself is
 * not needed: it is larger if more than half of the qualities are, and only if exactly half of them are, the two in the
 * middle count.
 */
static bool is_sufficient(const ecgmoe_lead_history *h, ecgmoe_real quality) {
    ecgmoe_real share = h->constants->least_share, below = -1, above = ECGMOE_INFINITY;
    if (quality >= h->constants->least_quality)
        return true;
    int32_t larger = 0, n = h->qualities_held;
    for (int32_t i = 0; i < n; i++) {
        ecgmoe_real other = stored_quality(h, i);
        if (share * other > quality) {
            larger++;
            above = ecgmoe_min(above, other);
        } else {
            below = ecgmoe_max(below, other);
        }
    }
    if (2 * larger != n)
        return 2 * larger < n;
    return quality >= share * (ECGMOE_R(0.5) * (below + above));
}

bool ecgmoe_lead_history_remember(ecgmoe_lead_history *history, const float window[ECGMOE_GRID], ecgmoe_real quality) {
    store_quality(history, quality);
    if (!is_sufficient(history, quality))
        return false;
    store_window(history, window);
    history->amplitudes[history->next_amplitude] = own_amplitude(history, window);
    history->next_amplitude = (uint8_t)((history->next_amplitude + 1) % ECGMOE_AMPLITUDE_BEATS);
    if (history->amplitudes_held < ECGMOE_AMPLITUDE_BEATS)
        history->amplitudes_held++;
    return true;
}

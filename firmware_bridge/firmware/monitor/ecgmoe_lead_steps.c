#include "ecgmoe_lead_steps.h"

/* Samples `start` to `stop` (exclusive) of the unfiltered signal, cut to those that are kept. */
typedef struct {
    const ecgmoe_raw *raw;
    int64_t start, stop;
} stretch;

static stretch between(const ecgmoe_lead_signal *l, int64_t start, int64_t stop) {
    int64_t first = ecgmoe_max_i64(start, ecgmoe_raw_start(&l->raw)), end = ecgmoe_min_i64(stop, l->raw.stop);
    return (stretch){&l->raw, first, ecgmoe_max_i64(first, end)};
}

static int32_t size_of(stretch s) {
    return (int32_t)(s.stop - s.start);
}

static ecgmoe_real at(stretch s, int32_t i) {
    return ecgmoe_raw_kept(s.raw, s.start + i);
}

static bool is_constant(stretch s) {
    ecgmoe_real value = at(s, 0);
    for (int32_t i = size_of(s) - 1; i > 0; i--) /* the last sample first: it differs most often */
        if (at(s, i) != value)
            return false;
    return true;
}

static ecgmoe_real median_of_stretch(stretch s) {
    ecgmoe_real sorted[ECGMOE_MS(ECGMOE_STEP_MS) + 1];
    int32_t n = size_of(s);
    for (int32_t i = 0; i < n; i++)
        sorted[i] = at(s, i);
    return ecgmoe_median_of(sorted, n);
}

/* Whether the signal is constant on one side of R, far from its level on the other. `middle` lies between R and `side`:
 * it shows how high the wave is. */
static bool is_level(const ecgmoe_lead_signal *l, stretch side, stretch other, stretch middle) {
    const ecgmoe_lead_constants *c = l->constants;
    int32_t shortest = (c->step_far - c->step_near) / 2;
    if (size_of(side) < shortest || size_of(side) == 0 || size_of(other) == 0 || !is_constant(side))
        return false;
    ecgmoe_real level = median_of_stretch(other), height = ECGMOE_R(0.0);
    for (int32_t i = 0; i < size_of(middle); i++)
        height = ecgmoe_max(height, ecgmoe_fabs(at(middle, i) - level));
    return ecgmoe_fabs(at(side, 0) - level) >= c->level_share * height;
}

/* Mean rise of a sample. */
static ecgmoe_real slope_of(stretch s) {
    return (at(s, size_of(s) - 1) - at(s, 0)) / (ecgmoe_real)(size_of(s) - 1);
}

/* Largest distance of at least two samples from the straight line through their ends. */
static ecgmoe_real off_line(stretch s) {
    ecgmoe_real first = at(s, 0), slope = slope_of(s), largest = ECGMOE_R(0.0);
    for (int32_t i = 0; i < size_of(s); i++)
        largest = ecgmoe_max(largest, ecgmoe_fabs(at(s, i) - (first + slope * (ecgmoe_real)i)));
    return largest;
}

/* Whether there are straight lines on both sides of R, far from each other. */
static bool is_straight_step(const ecgmoe_lead_signal *l, int64_t r, int64_t arrived) {
    const ecgmoe_lead_constants *c = l->constants;
    int32_t near = c->beside_near, far = c->beside_far;
    stretch before = between(l, r - far, r - near), middle = between(l, r - near, r + near);
    stretch after = between(l, r + near, ecgmoe_min_i64(r + far, arrived));
    if (size_of(before) < far - near || size_of(after) < (far - near) / 2)
        return false;
    ecgmoe_real rise = (ecgmoe_real)near * (at(before, size_of(before) - 1) - at(before, 0)) /
                       (ecgmoe_real)(size_of(before) - 1);
    ecgmoe_real rise_after = (ecgmoe_real)near * (at(after, size_of(after) - 1) - at(after, 0)) /
                             (ecgmoe_real)(size_of(after) - 1);
    ecgmoe_real height = ecgmoe_fabs((at(after, 0) - rise_after) - (at(before, size_of(before) - 1) + rise));
    ecgmoe_real low = at(middle, 0), high = low;
    for (int32_t i = 1; i < size_of(middle); i++) {
        low = ecgmoe_min(low, at(middle, i));
        high = ecgmoe_max(high, at(middle, i));
    }
    if (height < c->plateau * (high - low))
        return false;
    return off_line(before) <= c->straight * height && off_line(after) <= c->straight * height;
}

bool ecgmoe_lead_is_step(const ecgmoe_lead_signal *l, int64_t r, int64_t arrived) {
    int32_t near = l->constants->step_near, far = l->constants->step_far;
    int64_t last = ecgmoe_min_i64(r + far, arrived);
    return is_level(l, between(l, r + near, last), between(l, r - far, r), between(l, r, r + near)) ||
           is_level(l, between(l, r - far, r - near), between(l, r, last), between(l, r - near, r)) ||
           is_straight_step(l, r, arrived);
}

static bool is_marked(const ecgmoe_lead_signal *l, int64_t sample) {
    return ecgmoe_marks_at(&l->spikes, l->spike_bits, ECGMOE_SPIKE_BYTES, sample);
}

/* End (exclusive) of the spike that begins at a sample; the sample itself if none does. */
static int64_t spike_end(const ecgmoe_lead_signal *l, int64_t sample) {
    int64_t end = sample;
    if (!is_marked(l, sample - 1))
        while (is_marked(l, end))
            end++;
    return end;
}

/* Write the signal from `start` to `stop` (exclusive) less the level before the spike at `spike`. Returns how many
 * samples; 0 if the level is not kept. */
static int32_t after_spike(const ecgmoe_lead_signal *l, int64_t spike, int64_t start, int64_t stop,
                           ecgmoe_real after[ECGMOE_MOST_AFTER_SPIKE]) {
    stretch level = between(l, spike - 1, spike), s = between(l, start, stop);
    int32_t n = size_of(s) < ECGMOE_MOST_AFTER_SPIKE ? size_of(s) : ECGMOE_MOST_AFTER_SPIKE;
    if (size_of(level) == 0)
        return 0;
    for (int32_t i = 0; i < n; i++)
        after[i] = at(s, i) - at(level, 0);
    return n;
}

bool ecgmoe_lead_is_spike(const ecgmoe_lead_signal *l, const ecgmoe_candidate *candidate) {
    const ecgmoe_lead_constants *c = l->constants;
    ecgmoe_real after[ECGMOE_MOST_AFTER_SPIKE];
    int64_t first = ecgmoe_max_i64(candidate->at - c->spike_reach, ecgmoe_raw_start(&l->raw));
    for (int64_t sample = first; sample <= candidate->at && sample < l->spikes.stop; sample++) {
        int64_t end = spike_end(l, sample);
        if (end == sample)
            continue;
        int64_t known_at = ecgmoe_candidate_known_at(candidate);
        int64_t stop = ecgmoe_min_i64(ecgmoe_max_i64(candidate->at, end + c->tail), known_at);
        int32_t n = after_spike(l, sample, end, stop, after);
        if (n > 0 && ecgmoe_is_tail(&c->tails, after, n))
            return true;
    }
    return false;
}

void ecgmoe_lead_move_off_tail(const ecgmoe_lead_signal *l, ecgmoe_candidate *candidate) {
    const ecgmoe_lead_constants *c = l->constants;
    ecgmoe_real after[ECGMOE_MOST_AFTER_SPIKE];
    int64_t first = ecgmoe_candidate_sample(candidate) - c->after_spike - ECGMOE_WIDEST_SPIKE;
    for (int64_t sample = first; sample <= ecgmoe_candidate_sample(candidate) && sample < l->spikes.stop; sample++) {
        int64_t end = spike_end(l, sample);
        if (end == sample || ecgmoe_candidate_sample(candidate) > end + c->after_spike)
            continue;
        int64_t stop = ecgmoe_min_i64(end + c->complex_end, ecgmoe_candidate_known_at(candidate));
        int32_t n = after_spike(l, sample, end, stop, after);
        int32_t r = n > c->after_spike ? ecgmoe_r_on_tail(&c->tails, after, n) : -1;
        if (r >= 0)
            ecgmoe_candidate_move(candidate, end + r);
    }
}

#include "ecgmoe_ecg_presence.h"

#if ECGMOE_RECENT_BEATS > 32
#error "The recent beats have one bit each."
#endif

void ecgmoe_ecg_presence_init(ecgmoe_ecg_presence *presence, const ecgmoe_ecg_presence_constants *constants) {
    presence->constants = constants;
    ecgmoe_ecg_presence_forget(presence);
}

void ecgmoe_ecg_presence_forget(ecgmoe_ecg_presence *presence) {
    presence->clear = 0;
    presence->credit = presence->since = 0;
    presence->first_rr = presence->rr_count = presence->beats = 0;
    presence->known = presence->shown = false;
}

static bool are_clear(const ecgmoe_ecg_presence *p) {
    int32_t clear = 0;
    for (int32_t i = 0; i < p->beats; i++)
        clear += (int32_t)((p->clear >> i) & 1);
    return p->beats >= p->constants->fewest_beats &&
           (ecgmoe_real)clear >= p->constants->clear_share * (ecgmoe_real)p->beats;
}

bool ecgmoe_ecg_presence_present(const ecgmoe_ecg_presence *presence) {
    return presence->shown && are_clear(presence);
}

static void add_rr(ecgmoe_ecg_presence *p, ecgmoe_real rr_ms) {
    ecgmoe_real limited = ecgmoe_min(ecgmoe_max(rr_ms, p->constants->shortest_ms), p->constants->longest_ms);
    p->log_rr[(p->first_rr + p->rr_count) % ECGMOE_RECENT_BEATS] = ecgmoe_log(limited);
    if (p->rr_count < ECGMOE_RECENT_BEATS)
        p->rr_count++;
    else
        p->first_rr = (uint8_t)((p->first_rr + 1) % ECGMOE_RECENT_BEATS);
}

/* Whether the recent RR intervals differ no more than those of a heart. */
static bool is_rhythmic(const ecgmoe_ecg_presence *p) {
    if (p->rr_count < p->constants->fewest_intervals)
        return true;
    ecgmoe_real n = (ecgmoe_real)p->rr_count, total = 0, squares = 0, spread = p->constants->largest_spread;
    for (int32_t i = 0; i < p->rr_count; i++)
        total += p->log_rr[(p->first_rr + i) % ECGMOE_RECENT_BEATS];
    ecgmoe_real mean = total / n;
    for (int32_t i = 0; i < p->rr_count; i++) {
        ecgmoe_real difference = p->log_rr[(p->first_rr + i) % ECGMOE_RECENT_BEATS] - mean;
        squares += difference * difference;
    }
    return squares <= spread * spread * n;
}

static void count(ecgmoe_ecg_presence *p, bool like_a_heart) {
    const ecgmoe_ecg_presence_constants *c = p->constants;
    if (like_a_heart) {
        p->credit += p->credit < c->most_credit;
        p->known = p->known || p->credit >= c->known_credit;
    } else {
        int32_t least = p->known ? c->least_credit_known : c->least_credit;
        p->credit = p->credit - c->debit > least ? p->credit - c->debit : least;
    }
}

bool ecgmoe_ecg_presence_beat(ecgmoe_ecg_presence *presence, ecgmoe_real quality, ecgmoe_real rr_ms, bool poor,
                              ecgmoe_real recurrence) {
    const ecgmoe_ecg_presence_constants *c = presence->constants;
    bool clear = !poor && quality >= c->clear_quality;
    presence->clear = (presence->clear << 1) | clear;
    if (presence->beats < ECGMOE_RECENT_BEATS)
        presence->beats++;
    if (!ecgmoe_is_none(rr_ms))
        add_rr(presence, rr_ms);
    bool compared = !ecgmoe_is_none(recurrence);
    if (!clear || compared)
        count(presence, clear && compared && recurrence >= c->alike && is_rhythmic(presence));
    if (presence->credit >= c->enough_credit && are_clear(presence)) {
        presence->shown = true;
        presence->since = 0;
    } else if (presence->shown) {
        presence->since++;
        presence->shown = presence->since < c->forgotten_beats;
    }
    return clear;
}

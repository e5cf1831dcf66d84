/*
 * The items of one sample, sorted by when they became known. Python: the list `out` in ecgmoe_edge/streaming/frontend.py.
 *
 * Beats are only marked here: they are taken from the beat builder, in their order.
 */
#ifndef ECGMOE_ITEM_QUEUE_H
#define ECGMOE_ITEM_QUEUE_H

#include "ecgmoe_beat_builder.h"
#include "ecgmoe_items.h"

/* Most items of one sample beside beats: of each lead a spike, a hole, clipping twice, flatline twice, two changes of the
 * notch; a gap, pause and asystole, and changes of leads and ends of the signal before and after lead-off and flatline. */
#define ECGMOE_MOST_OTHER_ITEMS (8 * ECGMOE_MAX_LEADS + 8)
#define ECGMOE_MOST_QUEUED (ECGMOE_BUILT_BEATS + ECGMOE_MOST_OTHER_ITEMS)

/* Order of the items that become known at the same sample. */
typedef enum { ECGMOE_ORDER_SPIKE, ECGMOE_ORDER_FIRST, ECGMOE_ORDER_SILENCE, ECGMOE_ORDER_NEXT, ECGMOE_ORDER_LAST }
    ecgmoe_item_order;

#define ECGMOE_QUEUED_BEAT 255

typedef struct {
    int32_t known_after; /* samples after `base` of the queue */
    uint8_t order;
    uint8_t index; /* in `others`; ECGMOE_QUEUED_BEAT for the next beat of the builder */
} ecgmoe_queued;

/* An item that is no beat. */
typedef struct {
    int64_t sample; /* of the event, `since` of a silence, `sample` of the end of a signal */
    union {
        ecgmoe_gap gap;
        ecgmoe_flatline flatline;
        ecgmoe_clipping clipping;
        ecgmoe_mains mains;
        ecgmoe_pacing_spike pacing_spike;
        ecgmoe_lead_change lead_change;
        double seconds; /* of a silence */
        bool lead_lost; /* of the end of a signal */
    } of;
    uint8_t kind;    /* ecgmoe_item_kind */
    uint8_t event;   /* ecgmoe_event_kind, of an event */
    bool after_beat; /* of a silence */
} ecgmoe_queued_item;

typedef struct {
    int64_t base;
    ecgmoe_queued entries[ECGMOE_MOST_QUEUED];
    ecgmoe_queued_item others[ECGMOE_MOST_OTHER_ITEMS];
    uint8_t count, n_others;
    uint8_t taken;    /* number of entries that have been taken */
    uint16_t dropped; /* items for which there was no room: 0, unless a bound above is wrong */
} ecgmoe_item_queue;

/* Forget all entries. */
static inline void ecgmoe_queue_clear(ecgmoe_item_queue *queue) {
    queue->count = queue->n_others = queue->taken = 0;
}
static inline bool ecgmoe_queue_is_empty(const ecgmoe_item_queue *queue) {
    return queue->taken == queue->count;
}
/* Add an event of some kind that is known at `known_at`; the caller sets `of`. */
ecgmoe_queued_item *ecgmoe_queue_event(ecgmoe_item_queue *queue, int64_t known_at, ecgmoe_item_order order,
                                       ecgmoe_event_kind kind, int64_t sample);
void ecgmoe_queue_silence(ecgmoe_item_queue *queue, const ecgmoe_silence *silence);
void ecgmoe_queue_signal_end(ecgmoe_item_queue *queue, int64_t known_at, int64_t sample, bool lead_lost);
/* Add the beat that the builder completed last. */
void ecgmoe_queue_beat(ecgmoe_item_queue *queue, int64_t ready_at);
/* The change of the leads that was added last, if it became known at `known_at`; else NULL. */
ecgmoe_lead_change *ecgmoe_queue_last_change(ecgmoe_item_queue *queue, int64_t known_at);
/* Sort by `known_at` and order; equal entries stay in their order. */
void ecgmoe_queue_sort(ecgmoe_item_queue *queue);
/* Take the next entry, of which there is one. Of a beat, only its kind is written. */
void ecgmoe_queue_take(ecgmoe_item_queue *queue, ecgmoe_item *item);

#endif

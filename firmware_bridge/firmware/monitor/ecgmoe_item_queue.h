/*
 * The items of one sample, sorted by when they became known. Python: the list `out` in ecgmoe_edge/streaming/frontend.py.
 */
#ifndef ECGMOE_ITEM_QUEUE_H
#define ECGMOE_ITEM_QUEUE_H

#include "ecgmoe_beat_builder.h"
#include "ecgmoe_items.h"

/* Most items of one sample beside beats: of each lead a spike, a hole, clipping twice, flatline twice, two changes of the
 * notch; a gap, pause and asystole, and changes of leads and ends of the signal before and after lead-off and flatline. */
#define ECGMOE_MOST_OTHER_ITEMS (8 * ECGMOE_MAX_LEADS + 10)
#define ECGMOE_MOST_ITEMS (ECGMOE_MOST_WAITING + ECGMOE_MOST_OTHER_ITEMS)

/* Order of the items that become known at the same sample. */
typedef enum { ECGMOE_ORDER_SPIKE, ECGMOE_ORDER_FIRST, ECGMOE_ORDER_SILENCE, ECGMOE_ORDER_NEXT, ECGMOE_ORDER_LAST }
    ecgmoe_item_order;

/* One entry: a beat is stored without its windows, anything else as an item. */
typedef struct {
    int64_t known_at;
    uint8_t order;
    bool is_beat;
    uint8_t index; /* in `beats`, or in `others` */
} ecgmoe_queued;

typedef struct {
    ecgmoe_queued entries[ECGMOE_MOST_ITEMS];
    ecgmoe_complete_beat beats[ECGMOE_MOST_WAITING];
    ecgmoe_item others[ECGMOE_MOST_OTHER_ITEMS];
    uint8_t count, n_beats, n_others;
    uint8_t taken;    /* number of entries that have been taken */
    uint32_t dropped; /* items for which there was no room: 0, unless a bound above is wrong */
} ecgmoe_item_queue;

/* Forget all entries. */
void ecgmoe_queue_clear(ecgmoe_item_queue *queue);
static inline bool ecgmoe_queue_is_empty(const ecgmoe_item_queue *queue) {
    return queue->taken == queue->count;
}
/* Add an item; the caller sets what it holds. */
ecgmoe_item *ecgmoe_queue_put(ecgmoe_item_queue *queue, int64_t known_at, ecgmoe_item_order order,
                              ecgmoe_item_kind kind);
void ecgmoe_queue_put_event(ecgmoe_item_queue *queue, int64_t known_at, ecgmoe_item_order order,
                            const ecgmoe_event *event);
void ecgmoe_queue_put_beat(ecgmoe_item_queue *queue, const ecgmoe_complete_beat *beat);
/* The change of the leads that was added last, if it became known at `known_at`; else NULL. */
ecgmoe_lead_change *ecgmoe_queue_last_change(ecgmoe_item_queue *queue, int64_t known_at);
/* Sort by `known_at` and order; equal entries stay in their order. */
void ecgmoe_queue_sort(ecgmoe_item_queue *queue);
/* Take the next entry, of which there is one: its item, or its beat, and NULL for the other. */
void ecgmoe_queue_take(ecgmoe_item_queue *queue, const ecgmoe_item **item, const ecgmoe_complete_beat **beat);

#endif

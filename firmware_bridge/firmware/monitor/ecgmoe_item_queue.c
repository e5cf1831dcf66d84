#include "ecgmoe_item_queue.h"

void ecgmoe_queue_clear(ecgmoe_item_queue *queue) {
    queue->count = queue->n_beats = queue->n_others = queue->taken = 0;
}

static void add_entry(ecgmoe_item_queue *queue, int64_t known_at, ecgmoe_item_order order, bool is_beat, uint8_t index) {
    ecgmoe_queued entry = {known_at, (uint8_t)order, is_beat, index};
    queue->entries[queue->count++] = entry;
}

ecgmoe_item *ecgmoe_queue_put(ecgmoe_item_queue *queue, int64_t known_at, ecgmoe_item_order order,
                              ecgmoe_item_kind kind) {
    if (queue->n_others == ECGMOE_MOST_OTHER_ITEMS) { /* cannot happen: the last item is replaced */
        queue->dropped++;
        queue->n_others--;
        queue->count--;
    }
    ecgmoe_item *item = &queue->others[queue->n_others];
    add_entry(queue, known_at, order, false, queue->n_others++);
    item->kind = kind;
    item->known_at = known_at;
    return item;
}

void ecgmoe_queue_put_event(ecgmoe_item_queue *queue, int64_t known_at, ecgmoe_item_order order,
                            const ecgmoe_event *event) {
    ecgmoe_queue_put(queue, known_at, order, ECGMOE_ITEM_EVENT)->of.event = *event;
}

void ecgmoe_queue_put_beat(ecgmoe_item_queue *queue, const ecgmoe_complete_beat *beat) {
    if (queue->n_beats == ECGMOE_MOST_WAITING) {
        queue->dropped++;
        return;
    }
    queue->beats[queue->n_beats] = *beat;
    add_entry(queue, beat->ready_at, ECGMOE_ORDER_NEXT, true, queue->n_beats++);
}

ecgmoe_lead_change *ecgmoe_queue_last_change(ecgmoe_item_queue *queue, int64_t known_at) {
    if (!queue->count)
        return NULL;
    const ecgmoe_queued *last = &queue->entries[queue->count - 1];
    if (last->is_beat || last->known_at != known_at)
        return NULL;
    ecgmoe_item *item = &queue->others[last->index];
    bool is_change = item->kind == ECGMOE_ITEM_EVENT && item->of.event.kind == ECGMOE_EVENT_LEAD_CHANGE;
    return is_change ? &item->of.event.of.lead_change : NULL;
}

void ecgmoe_queue_sort(ecgmoe_item_queue *queue) {
    /* By insertion: there are few entries, which are nearly sorted. */
    for (int i = 1; i < queue->count; i++) {
        ecgmoe_queued entry = queue->entries[i];
        int k = i;
        for (; k > 0; k--) {
            const ecgmoe_queued *before = &queue->entries[k - 1];
            if (before->known_at < entry.known_at ||
                (before->known_at == entry.known_at && before->order <= entry.order))
                break;
            queue->entries[k] = *before;
        }
        queue->entries[k] = entry;
    }
}

void ecgmoe_queue_take(ecgmoe_item_queue *queue, const ecgmoe_item **item, const ecgmoe_complete_beat **beat) {
    const ecgmoe_queued *entry = &queue->entries[queue->taken++];
    *item = entry->is_beat ? NULL : &queue->others[entry->index];
    *beat = entry->is_beat ? &queue->beats[entry->index] : NULL;
}

#include "ecgmoe_item_queue.h"

static void add_entry(ecgmoe_item_queue *queue, int64_t known_at, ecgmoe_item_order order, uint8_t index) {
    if (!queue->count)
        queue->base = known_at;
    ecgmoe_queued entry = {(int32_t)(known_at - queue->base), (uint8_t)order, index};
    queue->entries[queue->count++] = entry;
}

static ecgmoe_queued_item *add_item(ecgmoe_item_queue *queue, int64_t known_at, ecgmoe_item_order order,
                                    ecgmoe_item_kind kind) {
    if (queue->n_others == ECGMOE_MOST_OTHER_ITEMS) { /* cannot happen: another one is then replaced */
        queue->dropped++;
        return &queue->others[ECGMOE_MOST_OTHER_ITEMS - 1];
    }
    ecgmoe_queued_item *item = &queue->others[queue->n_others];
    add_entry(queue, known_at, order, queue->n_others++);
    item->kind = (uint8_t)kind;
    return item;
}

ecgmoe_queued_item *ecgmoe_queue_event(ecgmoe_item_queue *queue, int64_t known_at, ecgmoe_item_order order,
                                       ecgmoe_event_kind kind, int64_t sample) {
    ecgmoe_queued_item *item = add_item(queue, known_at, order, ECGMOE_ITEM_EVENT);
    item->event = (uint8_t)kind;
    item->sample = sample;
    return item;
}

void ecgmoe_queue_silence(ecgmoe_item_queue *queue, const ecgmoe_silence *silence) {
    ecgmoe_queued_item *item = add_item(queue, silence->known_at, ECGMOE_ORDER_SILENCE, ECGMOE_ITEM_SILENCE);
    item->sample = silence->since;
    item->of.seconds = silence->seconds;
    item->after_beat = silence->after_beat;
}

void ecgmoe_queue_signal_end(ecgmoe_item_queue *queue, int64_t known_at, int64_t sample, bool lead_lost) {
    ecgmoe_queued_item *item = add_item(queue, known_at, ECGMOE_ORDER_NEXT, ECGMOE_ITEM_SIGNAL_END);
    item->sample = sample;
    item->of.lead_lost = lead_lost;
}

void ecgmoe_queue_beat(ecgmoe_item_queue *queue, int64_t ready_at) {
    add_entry(queue, ready_at, ECGMOE_ORDER_NEXT, ECGMOE_QUEUED_BEAT);
}

ecgmoe_lead_change *ecgmoe_queue_last_change(ecgmoe_item_queue *queue, int64_t known_at) {
    if (!queue->count)
        return NULL;
    const ecgmoe_queued *last = &queue->entries[queue->count - 1];
    if (last->index == ECGMOE_QUEUED_BEAT || queue->base + last->known_after != known_at)
        return NULL;
    ecgmoe_queued_item *item = &queue->others[last->index];
    bool is_change = item->kind == ECGMOE_ITEM_EVENT && item->event == ECGMOE_EVENT_LEAD_CHANGE;
    return is_change ? &item->of.lead_change : NULL;
}

static bool is_after(const ecgmoe_queued *one, const ecgmoe_queued *other) {
    if (one->known_after != other->known_after)
        return one->known_after > other->known_after;
    return one->order > other->order;
}

void ecgmoe_queue_sort(ecgmoe_item_queue *queue) {
    /* By insertion: there are few entries, which are nearly sorted. */
    for (int i = 1; i < queue->count; i++) {
        ecgmoe_queued entry = queue->entries[i];
        int k = i;
        for (; k > 0 && is_after(&queue->entries[k - 1], &entry); k--)
            queue->entries[k] = queue->entries[k - 1];
        queue->entries[k] = entry;
    }
}

static void copy_event(const ecgmoe_queued_item *from, ecgmoe_event *to) {
    to->kind = (ecgmoe_event_kind)from->event;
    to->sample = from->sample;
    switch (to->kind) {
    case ECGMOE_EVENT_GAP:
        to->of.gap = from->of.gap;
        break;
    case ECGMOE_EVENT_FLATLINE:
        to->of.flatline = from->of.flatline;
        break;
    case ECGMOE_EVENT_CLIPPING:
        to->of.clipping = from->of.clipping;
        break;
    case ECGMOE_EVENT_MAINS:
        to->of.mains = from->of.mains;
        break;
    case ECGMOE_EVENT_PACING_SPIKE:
        to->of.pacing_spike = from->of.pacing_spike;
        break;
    case ECGMOE_EVENT_LEAD_CHANGE:
        to->of.lead_change = from->of.lead_change;
        break;
    case ECGMOE_EVENT_BEAT:
    case ECGMOE_EVENT_RHYTHM:
    case ECGMOE_EVENT_MODEL_FAULT:
        break; /* only the labeller makes these */
    }
}

void ecgmoe_queue_take(ecgmoe_item_queue *queue, ecgmoe_item *item) {
    const ecgmoe_queued *entry = &queue->entries[queue->taken++];
    item->kind = ECGMOE_ITEM_BEAT;
    item->known_at = queue->base + entry->known_after;
    if (entry->index == ECGMOE_QUEUED_BEAT)
        return;
    const ecgmoe_queued_item *from = &queue->others[entry->index];
    item->kind = (ecgmoe_item_kind)from->kind;
    if (item->kind == ECGMOE_ITEM_EVENT) {
        copy_event(from, &item->of.event);
    } else if (item->kind == ECGMOE_ITEM_SILENCE) {
        ecgmoe_silence silence = {item->known_at, from->sample, from->of.seconds, from->after_beat};
        item->of.silence = silence;
    } else {
        ecgmoe_signal_end end = {from->sample, from->of.lead_lost};
        item->of.signal_end = end;
    }
}

/*
 * The items that the front end gives to the labeller: a beat that is complete, a break of the signal, the time without
 * a beat, or an event that the labeller passes on. Python: `Item` in ecgmoe_edge/streaming/frontend.py.
 *
 * The beat itself, with its windows, is not part of its item, since it is large: it is one `ecgmoe_beat` in the state
 * of the front end, filled when the item is taken from the queue.
 */
#ifndef ECGMOE_ITEMS_H
#define ECGMOE_ITEMS_H

#include "ecgmoe_beats.h"
#include "ecgmoe_events.h"
#include "ecgmoe_silence.h"

typedef enum {
    ECGMOE_ITEM_BEAT,       /* the `ecgmoe_beat` beside the item */
    ECGMOE_ITEM_SILENCE,    /* no R peak came for a time that is one of the limits */
    ECGMOE_ITEM_SIGNAL_END, /* no lead has a signal from a sample on */
    ECGMOE_ITEM_EVENT       /* an event that the labeller passes on */
} ecgmoe_item_kind;

typedef struct {
    ecgmoe_item_kind kind;
    int64_t known_at; /* number of samples that had arrived; of a beat, its `ready_at` */
    union {
        ecgmoe_silence silence;
        ecgmoe_signal_end signal_end;
        ecgmoe_event event;
    } of;
} ecgmoe_item;

#endif

/* The rhythm events of one beat or one break, in order. */
#ifndef ECGMOE_RHYTHM_LIST_H
#define ECGMOE_RHYTHM_LIST_H

#include "ecgmoe_events.h"

/* Pause: a begin and two ends; rate: an end and a begin; V run: an end or a begin; model: an end and a begin. */
#define ECGMOE_MOST_RHYTHM_EVENTS 8

typedef struct {
    int count;
    ecgmoe_rhythm events[ECGMOE_MOST_RHYTHM_EVENTS];
} ecgmoe_rhythm_list;

#endif

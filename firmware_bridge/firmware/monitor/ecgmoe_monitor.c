#include "ecgmoe_monitor.h"

#include <string.h>

static void start(ecgmoe_monitor *m) {
    ecgmoe_front_end_init(&m->front_end, m->tables, m->n_leads, m->peaks_only);
    ecgmoe_labeller_init(&m->labeller, &m->tables->labeller);
    m->n_rhythms = m->taken = 0;
    m->has_first = m->has_fault = false;
    m->pending = m->ending = m->busy = false;
}

bool ecgmoe_monitor_init(ecgmoe_monitor *m, const ecgmoe_tables *tables, int n_leads, bool peaks_only) {
    if (tables->fs > ECGMOE_MAX_FS || n_leads < 1 || n_leads > ECGMOE_MAX_LEADS)
        return false;
    memset(m, 0, sizeof *m);
    m->tables = tables;
    m->n_leads = (int8_t)n_leads;
    m->peaks_only = peaks_only;
    start(m);
    return true;
}

#if ECGMOE_PATIENT_LAYER
void ecgmoe_monitor_use_layer(ecgmoe_monitor *m, const ecgmoe_own_layer *layer) {
    m->layer = layer;
    ecgmoe_labeller_use_layer(&m->labeller, layer);
}

void ecgmoe_monitor_set_layer_active(ecgmoe_monitor *m, bool active) {
    m->labeller.layer_active = active && m->layer != NULL;
}
#endif

void ecgmoe_monitor_reset(ecgmoe_monitor *m) {
#if ECGMOE_PATIENT_LAYER
    bool active = m->labeller.layer_active;
    start(m);
    if (m->layer) {
        ecgmoe_labeller_use_layer(&m->labeller, m->layer);
        m->labeller.layer_active = active;
    }
#else
    start(m);
#endif
}

bool ecgmoe_monitor_push(ecgmoe_monitor *m, const ecgmoe_real *sample) {
    if (m->busy)
        return false;
    ecgmoe_front_end_push(&m->front_end, sample);
    return m->busy = true;
}

bool ecgmoe_monitor_gap(ecgmoe_monitor *m, int64_t lost, ecgmoe_gap_reason reason, bool at_least) {
    if (m->busy)
        return false;
    ecgmoe_front_end_gap(&m->front_end, lost, reason, at_least);
    return m->busy = true;
}

bool ecgmoe_monitor_lead_off(ecgmoe_monitor *m, uint8_t mask) {
    if (m->busy)
        return false;
    ecgmoe_front_end_lead_off(&m->front_end, mask);
    return m->busy = true;
}

bool ecgmoe_monitor_flush(ecgmoe_monitor *m) {
    if (m->busy)
        return false;
    ecgmoe_front_end_flush(&m->front_end);
    m->ending = true;
    return m->busy = true;
}

/* Keep the events of an item. */
static void keep(ecgmoe_monitor *m, const ecgmoe_event *events, int n) {
    m->n_rhythms = m->taken = 0;
    for (int i = 0; i < n; i++) {
        if (events[i].kind == ECGMOE_EVENT_RHYTHM) {
            m->rhythms[m->n_rhythms++] = events[i].of.rhythm;
        } else if (events[i].kind == ECGMOE_EVENT_MODEL_FAULT) {
            m->fault = events[i].of.model_fault;
            m->fault_at = events[i].sample;
            m->has_fault = true;
        } else {
            m->first = events[i];
            m->has_first = true;
        }
    }
}

static void take(ecgmoe_monitor *m, const ecgmoe_item *item, const ecgmoe_beat *beat, const ecgmoe_answer *answer) {
    ecgmoe_event events[ECGMOE_MOST_ITEM_EVENTS];
    keep(m, events, ecgmoe_labeller_take(&m->labeller, item, beat, answer, events));
}

/* Give the next event that was kept, in the order of Python: the beat, a fault of the model, rhythms. */
static bool give(ecgmoe_monitor *m, ecgmoe_event *event) {
    if (m->has_first) {
        *event = m->first;
        m->has_first = false;
    } else if (m->has_fault) {
        event->kind = ECGMOE_EVENT_MODEL_FAULT;
        event->sample = m->fault_at;
        event->of.model_fault = m->fault;
        m->has_fault = false;
    } else if (m->taken < m->n_rhythms) {
        event->kind = ECGMOE_EVENT_RHYTHM;
        event->sample = 0;
        event->of.rhythm = m->rhythms[m->taken++];
    } else {
        return false;
    }
    return true;
}

ecgmoe_step ecgmoe_monitor_next(ecgmoe_monitor *m, ecgmoe_event *event) {
    for (;;) {
        ecgmoe_item item;
        if (give(m, event))
            return ECGMOE_EVENT;
        if (m->pending)
            return ECGMOE_PENDING;
        if (ecgmoe_front_end_next(&m->front_end, &item, &m->beat)) {
            if (item.kind != ECGMOE_ITEM_BEAT) {
                take(m, &item, NULL, NULL);
            } else if (m->peaks_only) {
                take(m, &item, &m->beat, NULL);
            } else {
                ecgmoe_assemble_inputs(&m->tables->features, &m->beat);
                m->pending = true;
            }
        } else if (m->ending) {
            ecgmoe_event left;
            m->ending = false;
            keep(m, &left, ecgmoe_labeller_flush(&m->labeller, &left));
        } else {
            m->busy = false;
            return ECGMOE_NOTHING;
        }
    }
}

void ecgmoe_monitor_answer(ecgmoe_monitor *m, const ecgmoe_answer *answer) {
    if (!m->pending)
        return;
    ecgmoe_item item;
    item.kind = ECGMOE_ITEM_BEAT;
    item.known_at = m->beat.ready_at;
    m->pending = false;
    take(m, &item, &m->beat, answer);
}

bool ecgmoe_monitor_run(ecgmoe_monitor *m, ecgmoe_model model, void *context, ecgmoe_event *event) {
    ecgmoe_step step;
    while ((step = ecgmoe_monitor_next(m, event)) == ECGMOE_PENDING) {
        ecgmoe_answer answer;
        model(context, &m->beat, &answer);
        ecgmoe_monitor_answer(m, &answer);
    }
    return step == ECGMOE_EVENT;
}

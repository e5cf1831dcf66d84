/*
 * The C monitor as a Python extension: front end and labeller, with buffers for the items of a whole push.
 *
 * It uses the limited API of Python 3.10, so that one file serves all later versions. Arrays come and go as objects with
 * the buffer protocol; the Python side (front_end.py, labeller.py) makes them contiguous and of the right type.
 */
#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030A0000
#endif
#include <Python.h>

#include <math.h>
#include <string.h>

#include "ecgmoe_front_end.h"
#include "ecgmoe_labeller.h"
#include "ecgmoe_tables.h"

#include "_fill.h"

/* Functions of the stable ABI that newer headers no longer declare. With the buffer protocol's own functions, the
 * extension would need Python 3.11. */
extern int PyObject_AsReadBuffer(PyObject *object, const void **buffer, Py_ssize_t *length);
extern int PyObject_AsWriteBuffer(PyObject *object, void **buffer, Py_ssize_t *length);

/* -- the front end */

typedef struct {
    PyObject_HEAD
    ecgmoe_tables *tables;
    ecgmoe_front_end *state;
    ecgmoe_item *items;
    ecgmoe_beat *beats;
    Py_ssize_t n_items, room_items, n_beats, room_beats, n_rows;
    int n_leads;
} FrontEnd;

static ecgmoe_tables *tables_from(PyObject *values) {
    const void *data;
    Py_ssize_t length;
    if (PyObject_AsReadBuffer(values, &data, &length) < 0)
        return NULL;
    if (length != (Py_ssize_t)(FILL_COUNT * sizeof(double))) {
        PyErr_SetString(PyExc_ValueError, "the constants do not fit this build of the extension");
        return NULL;
    }
    ecgmoe_tables *tables = PyMem_Calloc(1, sizeof *tables);
    if (tables == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    fill_tables(tables, data);
    return tables;
}

/* The object gets its memory in `new`: it cannot be in a state without. */
static PyObject *FrontEnd_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *values;
    int n_leads, peaks_only;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "Oip", &values, &n_leads, &peaks_only))
        return NULL;
    if (n_leads < 1 || n_leads > ECGMOE_MAX_LEADS) {
        PyErr_SetString(PyExc_ValueError, "too many leads for this build of the extension");
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    FrontEnd *self = (FrontEnd *)alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->n_leads = n_leads;
    self->tables = tables_from(values);
    if (self->tables != NULL && self->tables->fs > ECGMOE_MAX_FS)
        PyErr_SetString(PyExc_ValueError, "the sampling rate is too high for this build of the extension");
    else if (self->tables != NULL && (self->state = PyMem_Calloc(1, sizeof *self->state)) == NULL)
        PyErr_NoMemory();
    if (self->state == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    ecgmoe_front_end_init(self->state, self->tables, n_leads, peaks_only != 0);
    return (PyObject *)self;
}

static void free_object(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static void FrontEnd_dealloc(PyObject *object) {
    FrontEnd *self = (FrontEnd *)object;
    PyMem_Free(self->tables);
    PyMem_Free(self->state);
    PyMem_Free(self->items);
    PyMem_Free(self->beats);
    free_object(object);
}

/* Make room for one more element; returns NULL with an exception if there is no memory. */
static void *with_room(void *array, Py_ssize_t count, Py_ssize_t *room, size_t size) {
    if (count < *room)
        return array;
    Py_ssize_t more = *room ? 2 * *room : 16;
    void *larger = PyMem_Realloc(array, (size_t)more * size);
    if (larger == NULL)
        PyErr_NoMemory();
    else
        *room = more;
    return larger;
}

/* Append all items that are certain by now. */
static bool collect(FrontEnd *self) {
    for (;;) {
        void *items = with_room(self->items, self->n_items, &self->room_items, sizeof *self->items);
        if (items == NULL)
            return false;
        self->items = items;
        void *beats = with_room(self->beats, self->n_beats, &self->room_beats, sizeof *self->beats);
        if (beats == NULL)
            return false;
        self->beats = beats;
        ecgmoe_item *item = &self->items[self->n_items];
        ecgmoe_beat *beat = &self->beats[self->n_beats];
        if (!ecgmoe_front_end_next(self->state, item, beat))
            return true;
        self->n_items++;
        if (item->kind == ECGMOE_ITEM_BEAT) {
            self->n_beats++;
            self->n_rows += beat->n_views;
        }
    }
}

/* Forget the items, for the next call. */
static void clear(FrontEnd *self) {
    self->n_items = self->n_beats = self->n_rows = 0;
}

static PyObject *collected(FrontEnd *self) {
    return collect(self) ? PyLong_FromSsize_t(self->n_items) : NULL;
}

static PyObject *FrontEnd_push(PyObject *object, PyObject *samples) {
    FrontEnd *self = (FrontEnd *)object;
    const void *data;
    Py_ssize_t length;
    if (PyObject_AsReadBuffer(samples, &data, &length) < 0)
        return NULL;
    const double *x = data;
    const Py_ssize_t n = length / (Py_ssize_t)sizeof(double) / self->n_leads;
    for (Py_ssize_t i = 0; i < n;) {
        i += ecgmoe_front_end_push_some(self->state, x + i, n, n - i);
        if (!collect(self))
            return NULL;
    }
    return PyLong_FromSsize_t(self->n_items);
}

static PyObject *FrontEnd_gap(PyObject *object, PyObject *args) {
    FrontEnd *self = (FrontEnd *)object;
    long long lost;
    int reason, at_least;
    if (!PyArg_ParseTuple(args, "Lip", &lost, &reason, &at_least))
        return NULL;
    ecgmoe_front_end_gap(self->state, lost, (ecgmoe_gap_reason)reason, at_least != 0);
    return collected(self);
}

static PyObject *FrontEnd_lead_off(PyObject *object, PyObject *mask) {
    FrontEnd *self = (FrontEnd *)object;
    const long bits = PyLong_AsLong(mask);
    if (bits == -1 && PyErr_Occurred())
        return NULL;
    ecgmoe_front_end_lead_off(self->state, (uint8_t)bits);
    return collected(self);
}

static PyObject *FrontEnd_flush(PyObject *object, PyObject *unused) {
    (void)unused;
    ecgmoe_front_end_flush(((FrontEnd *)object)->state);
    return collected((FrontEnd *)object);
}

static PyObject *FrontEnd_clear(PyObject *object, PyObject *unused) {
    (void)unused;
    clear((FrontEnd *)object);
    Py_RETURN_NONE;
}

/* Room for `count` elements of `size` bytes in a writable array; NULL with an exception if it has another length. */
static void *array_of(PyObject *object, Py_ssize_t count, size_t size) {
    void *data;
    Py_ssize_t length;
    if (PyObject_AsWriteBuffer(object, &data, &length) < 0)
        return NULL;
    if (length != count * (Py_ssize_t)size) {
        PyErr_SetString(PyExc_ValueError, "an array has another length than the beats need");
        return NULL;
    }
    return data;
}

/* inputs(beat, features, rr_sequence): write the inputs of the model, one row for each view of each beat. */
static PyObject *FrontEnd_inputs(PyObject *object, PyObject *args) {
    FrontEnd *self = (FrontEnd *)object;
    PyObject *arrays[3];
    if (!PyArg_ParseTuple(args, "OOO", &arrays[0], &arrays[1], &arrays[2]))
        return NULL;
    char *beat = array_of(arrays[0], self->n_rows, sizeof self->beats->views[0].beat);
    char *features = beat ? array_of(arrays[1], self->n_rows, sizeof self->beats->views[0].features) : NULL;
    char *sequence = features ? array_of(arrays[2], self->n_rows, sizeof self->beats->rr_sequence) : NULL;
    if (sequence == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < self->n_beats; i++) {
        ecgmoe_beat *each = &self->beats[i];
        if (!each->has_inputs)
            ecgmoe_assemble_inputs(&self->tables->features, each);
        for (int k = 0; k < each->n_views; k++) {
            memcpy(beat, each->views[k].beat, sizeof each->views[k].beat);
            memcpy(features, each->views[k].features, sizeof each->views[k].features);
            memcpy(sequence, each->rr_sequence, sizeof each->rr_sequence);
            beat += sizeof each->views[k].beat;
            features += sizeof each->views[k].features;
            sequence += sizeof each->rr_sequence;
        }
    }
    Py_RETURN_NONE;
}

/* windows(windows, amplitudes, rr_features, rr_sequence): write windows and templates in mV and R amplitudes, one row for
 * each view; features and sequences, one row for each beat. */
static PyObject *FrontEnd_windows(PyObject *object, PyObject *args) {
    FrontEnd *self = (FrontEnd *)object;
    PyObject *arrays[4];
    if (!PyArg_ParseTuple(args, "OOOO", &arrays[0], &arrays[1], &arrays[2], &arrays[3]))
        return NULL;
    char *windows = array_of(arrays[0], self->n_rows, sizeof self->beats->views[0].beat);
    float *amplitudes = windows ? array_of(arrays[1], self->n_rows, sizeof(float)) : NULL;
    char *features = amplitudes ? array_of(arrays[2], self->n_beats, sizeof self->beats->rr_features) : NULL;
    char *sequence = features ? array_of(arrays[3], self->n_beats, sizeof self->beats->rr_sequence) : NULL;
    if (sequence == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < self->n_beats; i++) {
        const ecgmoe_beat *each = &self->beats[i];
        for (int k = 0; k < each->n_views; k++) {
            memcpy(windows, each->views[k].beat, sizeof each->views[k].beat);
            windows += sizeof each->views[k].beat;
            *amplitudes++ = each->views[k].amplitude;
        }
        memcpy(features, each->rr_features, sizeof each->rr_features);
        memcpy(sequence, each->rr_sequence, sizeof each->rr_sequence);
        features += sizeof each->rr_features;
        sequence += sizeof each->rr_sequence;
    }
    Py_RETURN_NONE;
}

/* views(): a tuple of the number of views of each beat. */
static PyObject *FrontEnd_views(PyObject *object, PyObject *unused) {
    FrontEnd *self = (FrontEnd *)object;
    (void)unused;
    PyObject *views = PyTuple_New(self->n_beats);
    for (Py_ssize_t i = 0; views != NULL && i < self->n_beats; i++) {
        PyObject *count = PyLong_FromLong(self->beats[i].n_views);
        if (count == NULL || PyTuple_SetItem(views, i, count) < 0) {
            Py_DECREF(views);
            return NULL;
        }
    }
    return views;
}

/* -- events and items as tuples: their kind and their values; labeller.py and front_end.py give them names */

static PyObject *small_integers(const int8_t *values, int n) {
    PyObject *tuple = PyTuple_New(n);
    for (int i = 0; tuple != NULL && i < n; i++)
        PyTuple_SetItem(tuple, i, PyLong_FromLong(values[i]));
    return tuple;
}

/* Probabilities, rounded as those of the reference: Python's round() would take as long as the rest of the event. */
static PyObject *scores_of(const ecgmoe_beat_event *beat, int n) {
    PyObject *tuple = PyTuple_New(n);
    for (int i = 0; tuple != NULL && i < n; i++)
        PyTuple_SetItem(tuple, i, PyFloat_FromDouble(rint((double)beat->scores[i] * 1e6) / 1e6));
    return tuple;
}

static PyObject *no_value(void) {
    Py_INCREF(Py_None);
    return Py_None;
}

static PyObject *beat_tuple(const ecgmoe_event *event, const ecgmoe_model_tasks *tasks) {
    const ecgmoe_beat_event *beat = &event->of.beat;
    const bool has = beat->has_scores;
    return Py_BuildValue("iLiNNdLLiiiiii", (int)event->kind, (long long)event->sample, (int)beat->rr,
                         has ? scores_of(beat, tasks->n_classes) : no_value(),
                         has ? small_integers(beat->experts, ECGMOE_PATHS) : no_value(), (double)beat->quality,
                         (long long)beat->known_at, (long long)beat->ready_at, (int)beat->search_back,
                         (int)beat->label, (int)beat->is_poor, (int)beat->reason, (int)beat->lead,
                         (int)beat->shared_label);
}

static PyObject *change_tuple(const ecgmoe_event *event) {
    const ecgmoe_lead_change *change = &event->of.lead_change;
    int8_t reasons[ECGMOE_MAX_LEADS];
    for (int i = 0; i < change->n_others; i++)
        reasons[i] = (int8_t)change->reasons[i];
    return Py_BuildValue("iLNNNi", (int)event->kind, (long long)event->sample,
                         small_integers(change->clear, change->n_clear),
                         small_integers(change->others, change->n_others),
                         small_integers(reasons, change->n_others), (int)change->broken);
}

static PyObject *event_tuple(const ecgmoe_event *event, const ecgmoe_model_tasks *tasks) {
    const int kind = (int)event->kind;
    const long long sample = (long long)event->sample;
    switch (event->kind) {
    case ECGMOE_EVENT_BEAT:
        return beat_tuple(event, tasks);
    case ECGMOE_EVENT_RHYTHM: {
        const ecgmoe_rhythm *rhythm = &event->of.rhythm;
        return Py_BuildValue("iLddiii", kind, sample, rhythm->from_s, rhythm->to_s, (int)rhythm->kind,
                             (int)rhythm->rhythm, (int)rhythm->ended);
    }
    case ECGMOE_EVENT_MODEL_FAULT: {
        const ecgmoe_model_fault *fault = &event->of.model_fault;
        return Py_BuildValue("iLNi", kind, sample, small_integers(fault->outputs, fault->n_outputs),
                             (int)fault->beats);
    }
    case ECGMOE_EVENT_GAP: {
        const ecgmoe_gap *gap = &event->of.gap;
        return Py_BuildValue("iLLiiii", kind, sample, (long long)gap->lost, (int)gap->reason, (int)gap->at_least,
                             (int)gap->bridged, (int)gap->lead);
    }
    case ECGMOE_EVENT_FLATLINE: {
        const ecgmoe_flatline *flatline = &event->of.flatline;
        return Py_BuildValue("iLLii", kind, sample, (long long)flatline->samples, (int)flatline->kind,
                             (int)flatline->lead);
    }
    case ECGMOE_EVENT_CLIPPING: {
        const ecgmoe_clipping *clipping = &event->of.clipping;
        return Py_BuildValue("iLLii", kind, sample, (long long)clipping->duration, (int)clipping->samples,
                             (int)clipping->lead);
    }
    case ECGMOE_EVENT_MAINS: {
        const ecgmoe_mains *mains = &event->of.mains;
        return Py_BuildValue("iLdddii", kind, sample, (double)mains->frequency_hz, (double)mains->share,
                             (double)mains->amplitude_mv, (int)mains->notch, (int)mains->lead);
    }
    case ECGMOE_EVENT_PACING_SPIKE: {
        const ecgmoe_pacing_spike *spike = &event->of.pacing_spike;
        return Py_BuildValue("iLdii", kind, sample, (double)spike->amplitude_mv, (int)spike->width, (int)spike->lead);
    }
    case ECGMOE_EVENT_LEAD_CHANGE:
        return change_tuple(event);
    }
    PyErr_SetString(PyExc_SystemError, "an event of an unknown kind");
    return NULL;
}

/* Append a new reference to a list and give it up. */
static bool append(PyObject *list, PyObject *value) {
    const bool done = value != NULL && PyList_Append(list, value) == 0;
    Py_XDECREF(value);
    return done;
}

static PyObject *beat_item(const ecgmoe_beat *beat) {
    int8_t leads[ECGMOE_MOST_VIEWS];
    for (int k = 0; k < beat->n_views; k++)
        leads[k] = beat->views[k].lead;
    return Py_BuildValue("iLLLiddiNiiii", (int)ECGMOE_ITEM_BEAT, (long long)beat->sample, (long long)beat->known_at,
                         (long long)beat->ready_at, (int)beat->rr, (double)beat->quality, (double)beat->recurrence,
                         (int)beat->lead, small_integers(leads, beat->n_views), (int)beat->search_back,
                         (int)beat->complete, (int)beat->no_qrs, (int)beat->in_history);
}

static PyObject *item_tuple(const ecgmoe_item *item) {
    const int kind = (int)item->kind;
    if (item->kind == ECGMOE_ITEM_SILENCE) {
        const ecgmoe_silence *silence = &item->of.silence;
        return Py_BuildValue("iLLdi", kind, (long long)silence->known_at, (long long)silence->since, silence->seconds,
                             (int)silence->after_beat);
    }
    if (item->kind == ECGMOE_ITEM_SIGNAL_END)
        return Py_BuildValue("iLLi", kind, (long long)item->known_at, (long long)item->of.signal_end.sample,
                             (int)item->of.signal_end.lead_lost);
    return Py_BuildValue("iN", kind, event_tuple(&item->of.event, NULL));
}

/* items(): a list of the items as tuples. */
static PyObject *FrontEnd_items(PyObject *object, PyObject *unused) {
    FrontEnd *self = (FrontEnd *)object;
    (void)unused;
    PyObject *list = PyList_New(0);
    const ecgmoe_beat *beat = self->beats;
    for (Py_ssize_t i = 0; list != NULL && i < self->n_items; i++) {
        const ecgmoe_item *item = &self->items[i];
        if (!append(list, item->kind == ECGMOE_ITEM_BEAT ? beat_item(beat++) : item_tuple(item))) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

static PyObject *FrontEnd_position(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromLongLong(ecgmoe_front_end_position(((FrontEnd *)object)->state));
}

static PyObject *FrontEnd_beats(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromSsize_t(((FrontEnd *)object)->n_beats);
}

static PyObject *FrontEnd_rows(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromSsize_t(((FrontEnd *)object)->n_rows);
}

static PyObject *FrontEnd_dropped(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(((FrontEnd *)object)->state->queue.dropped);
}

static PyMethodDef FrontEnd_methods[] = {
    {"push", FrontEnd_push, METH_O, NULL},         {"gap", FrontEnd_gap, METH_VARARGS, NULL},
    {"lead_off", FrontEnd_lead_off, METH_O, NULL}, {"flush", FrontEnd_flush, METH_NOARGS, NULL},
    {"clear", FrontEnd_clear, METH_NOARGS, NULL},  {"inputs", FrontEnd_inputs, METH_VARARGS, NULL},
    {"views", FrontEnd_views, METH_NOARGS, NULL},  {"windows", FrontEnd_windows, METH_VARARGS, NULL},
    {"items", FrontEnd_items, METH_NOARGS, NULL},  {NULL, NULL, 0, NULL},
};

static PyGetSetDef FrontEnd_attributes[] = {
    {"position", FrontEnd_position, NULL, NULL, NULL},
    {"beats", FrontEnd_beats, NULL, NULL, NULL},
    {"rows", FrontEnd_rows, NULL, NULL, NULL},
    {"dropped", FrontEnd_dropped, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot FrontEnd_slots[] = {
    {Py_tp_new, FrontEnd_new},
    {Py_tp_dealloc, FrontEnd_dealloc},
    {Py_tp_methods, FrontEnd_methods},
    {Py_tp_getset, FrontEnd_attributes},
    {0, NULL},
};

static PyType_Spec FrontEnd_spec = {
    "ecgmoe_edge.streaming.c_engine._core.FrontEnd", sizeof(FrontEnd), 0, Py_TPFLAGS_DEFAULT, FrontEnd_slots};

/* -- the labeller */

typedef struct {
    PyObject_HEAD
    ecgmoe_tables *tables;
    ecgmoe_labeller state;
    ecgmoe_own_layer layer;
    ecgmoe_real *weights;
} Labeller;

/* Use the patient's own layer: matrices of all leads, with zeros for a lead without one, and a mask of those with one. */
static bool use_layer(Labeller *self, PyObject *weights, int mask, int first_lead, double margin_share_s) {
    const void *data;
    Py_ssize_t length;
    const Py_ssize_t size = ECGMOE_LAYER_INPUTS * ECGMOE_LAYER_CLASSES;
    if (PyObject_AsReadBuffer(weights, &data, &length) < 0)
        return false;
    const Py_ssize_t count = length / (Py_ssize_t)sizeof(double);
    if (count == 0 || count % size != 0 || count > size * ECGMOE_MAX_LEADS) {
        PyErr_SetString(PyExc_ValueError, "the weights of the patient's layer have an unknown size");
        return false;
    }
    self->weights = PyMem_Calloc((size_t)count, sizeof *self->weights);
    if (self->weights == NULL) {
        PyErr_NoMemory();
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        self->weights[i] = (ecgmoe_real)((const double *)data)[i];
    for (int k = 0; k < count / size; k++)
        self->layer.weights[k] = mask >> k & 1 ? self->weights + k * size : NULL;
    self->layer.first_lead = first_lead;
    self->layer.margin_share_s = (ecgmoe_real)margin_share_s;
    ecgmoe_labeller_use_layer(&self->state, &self->layer);
    return true;
}

static PyObject *Labeller_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *values, *weights;
    int mask, first_lead;
    double margin_share_s;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "OOiid", &values, &weights, &mask, &first_lead, &margin_share_s))
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Labeller *self = (Labeller *)alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->tables = tables_from(values);
    if (self->tables == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    ecgmoe_labeller_init(&self->state, &self->tables->labeller);
    if (weights != Py_None && !use_layer(self, weights, mask, first_lead, margin_share_s)) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void Labeller_dealloc(PyObject *object) {
    Labeller *self = (Labeller *)object;
    PyMem_Free(self->tables);
    PyMem_Free(self->weights);
    free_object(object);
}

/* Set the outputs of the model for all rows of a front end. */
static bool set_answer(const Labeller *self, const FrontEnd *front_end, PyObject *outputs, ecgmoe_answer *answer) {
    const ecgmoe_model_tasks *tasks = &self->tables->labeller.tasks;
    if (PyTuple_Size(outputs) != tasks->n_outputs) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "the model gave another number of outputs than before");
        return false;
    }
    for (int i = 0; i < tasks->n_outputs; i++) {
        const void *data;
        Py_ssize_t length;
        if (PyObject_AsReadBuffer(PyTuple_GetItem(outputs, i), &data, &length) < 0)
            return false;
        if (length != front_end->n_rows * tasks->width[i] * (Py_ssize_t)sizeof(float)) {
            PyErr_SetString(PyExc_ValueError, "an output of the model has another size than before");
            return false;
        }
        answer->outputs[i] = data;
    }
    return true;
}

/* take(front_end, outputs): a list of the events of all items of a front end, as tuples; the front end forgets the items.
 * outputs: a tuple of arrays (rows, width) of float32; None without a model. */
static PyObject *Labeller_take(PyObject *object, PyObject *args) {
    Labeller *self = (Labeller *)object;
    FrontEnd *front_end;
    PyObject *outputs;
    ecgmoe_answer answer;
    if (!PyArg_ParseTuple(args, "OO", (PyObject **)&front_end, &outputs))
        return NULL;
    if (outputs != Py_None && !set_answer(self, front_end, outputs, &answer))
        return NULL;
    const ecgmoe_model_tasks *tasks = &self->tables->labeller.tasks;
    PyObject *list = PyList_New(0);
    ecgmoe_beat *beat = front_end->beats;
    for (Py_ssize_t i = 0; list != NULL && i < front_end->n_items; i++) {
        const ecgmoe_item *item = &front_end->items[i];
        const bool is_beat = item->kind == ECGMOE_ITEM_BEAT;
        const bool answered = is_beat && outputs != Py_None;
        ecgmoe_event events[ECGMOE_MOST_ITEM_EVENTS];
        if (answered && !beat->has_inputs)
            ecgmoe_assemble_inputs(&self->tables->features, beat);
        int n = ecgmoe_labeller_take(&self->state, item, is_beat ? beat : NULL, answered ? &answer : NULL, events);
        for (int j = 0; j < n; j++)
            if (!append(list, event_tuple(&events[j], tasks))) {
                Py_DECREF(list);
                return NULL;
            }
        if (answered)
            for (int j = 0; j < tasks->n_outputs; j++)
                answer.outputs[j] += beat->n_views * tasks->width[j];
        beat += is_beat;
    }
    clear(front_end);
    return list;
}

static PyObject *Labeller_flush(PyObject *object, PyObject *unused) {
    Labeller *self = (Labeller *)object;
    ecgmoe_event event;
    (void)unused;
    PyObject *list = PyList_New(0);
    if (list != NULL && ecgmoe_labeller_flush(&self->state, &event) &&
        !append(list, event_tuple(&event, &self->tables->labeller.tasks))) {
        Py_DECREF(list);
        return NULL;
    }
    return list;
}

static PyObject *Labeller_use_layer(PyObject *object, PyObject *active) {
    const int truth = PyObject_IsTrue(active);
    if (truth < 0)
        return NULL;
    ((Labeller *)object)->state.layer_active = truth != 0;
    Py_RETURN_NONE;
}

/* use_constants(values): take other constants, with the outputs of the model as they are known by now. */
static PyObject *Labeller_use_constants(PyObject *object, PyObject *values) {
    ecgmoe_tables *tables = tables_from(values);
    if (tables == NULL)
        return NULL;
    *((Labeller *)object)->tables = *tables;
    PyMem_Free(tables);
    Py_RETURN_NONE;
}

static PyMethodDef Labeller_methods[] = {
    {"take", Labeller_take, METH_VARARGS, NULL},
    {"flush", Labeller_flush, METH_NOARGS, NULL},
    {"use_layer", Labeller_use_layer, METH_O, NULL},
    {"use_constants", Labeller_use_constants, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot Labeller_slots[] = {
    {Py_tp_new, Labeller_new},
    {Py_tp_dealloc, Labeller_dealloc},
    {Py_tp_methods, Labeller_methods},
    {0, NULL},
};

static PyType_Spec Labeller_spec = {
    "ecgmoe_edge.streaming.c_engine._core.Labeller", sizeof(Labeller), 0, Py_TPFLAGS_DEFAULT, Labeller_slots};

/* -- the module */

static int execute(PyObject *module) {
    PyObject *front_end = PyType_FromSpec(&FrontEnd_spec), *labeller = PyType_FromSpec(&Labeller_spec);
    int failed = front_end == NULL || labeller == NULL;
    failed = failed || PyModule_AddObjectRef(module, "FrontEnd", front_end) < 0;
    failed = failed || PyModule_AddObjectRef(module, "Labeller", labeller) < 0;
    Py_XDECREF(front_end);
    Py_XDECREF(labeller);
    failed = failed || PyModule_AddIntConstant(module, "MOST_LEADS", ECGMOE_MAX_LEADS) < 0;
    failed = failed || PyModule_AddIntConstant(module, "HIGHEST_RATE_HZ", ECGMOE_MAX_FS) < 0;
    failed = failed || PyModule_AddIntConstant(module, "REAL_BYTES", (long)sizeof(ecgmoe_real)) < 0;
    return failed ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_core", "Front end and labeller of the C monitor.", 0, NULL, module_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__core(void) {
    return PyModuleDef_Init(&definition);
}

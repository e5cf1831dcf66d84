/*
 * What a model answers: counts, and indices of the classes that the rules know. A model is described by numbers only.
 */
#ifndef ECGMOE_MODEL_TASKS_H
#define ECGMOE_MODEL_TASKS_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

typedef struct {
    int32_t n_classes; /* len(classes["beat"]), at most ECGMOE_MOST_CLASSES; 0 without a model */
    int32_t normal;    /* index of N among them */
    int32_t s;         /* ... of S */
    int32_t v;         /* ... of V */
    int32_t artefact;  /* ... of tasks.ARTEFACT; -1 if the model has no such answer */
    int32_t n_rhythms; /* len(classes["rhythm"]), at most ECGMOE_MOST_CLASSES; 0 without this task */
    int32_t af;        /* index of AF among them; -1 if there is none */
    int32_t noisy;     /* ... of noisy; -1 if there is none */
    /* The outputs, in the order in which a fault of the model names them: those of tasks and of routers. */
    int32_t n_outputs;                    /* at most ECGMOE_MOST_OUTPUTS */
    int32_t width[ECGMOE_MOST_OUTPUTS];   /* values of each output for one lead */
    int32_t beat_output;                  /* index of the output "beat" */
    int32_t rhythm_output;                /* index of the output "rhythm"; -1 if there is none */
    int32_t routes[ECGMOE_PATHS];         /* indices of the router logits; -1 if there are none */
    ecgmoe_real largest_answer;           /* contract.LARGEST_ANSWER */
} ecgmoe_model_tasks;

/* The outputs of a model for one beat: each (leads, width), row by row, one row for each view of the beat. */
typedef struct {
    const float *outputs[ECGMOE_MOST_OUTPUTS];
} ecgmoe_answer;

/* Write the indices of the outputs with a value that is NaN, infinite or too large to `unusable`; return their
 * number. */
int ecgmoe_unusable_outputs(const ecgmoe_model_tasks *tasks, const ecgmoe_answer *answer, int leads,
                            int8_t unusable[ECGMOE_MOST_OUTPUTS]);

/* Index of the largest of `n` values, the first of equal ones. */
int ecgmoe_argmax_float(const float *values, int n);

#endif

/*
 * The patient's beat shapes with the mean score of their beats: beats of one shape are mostly of one class.
 * Python: ecgmoe_edge/streaming/patient/shapes.py.
 *
 * In 32-bit builds a mean form is stored in 16 bits with a scale, and numbers of beats are counted up to 65535.
 */
#ifndef ECGMOE_SHAPES_H
#define ECGMOE_SHAPES_H

#include "ecgmoe_config.h"
#include "ecgmoe_sizes.h"

#ifdef ECGMOE_REAL_FLOAT
typedef int16_t ecgmoe_stored_form;
typedef uint16_t ecgmoe_beat_count;
#define ECGMOE_MOST_COUNTED UINT16_MAX
#else
typedef double ecgmoe_stored_form;
typedef uint32_t ecgmoe_beat_count;
#define ECGMOE_MOST_COUNTED UINT32_MAX
#endif

typedef struct {
    int32_t form_begin;                                /* shapes.FORM.start */
    ecgmoe_real ratio;                                 /* shapes.RATIO */
    ecgmoe_real least_weight;                          /* shapes.LEAST_WEIGHT */
    ecgmoe_real margin_limit;                          /* shapes.MARGIN_LIMIT */
    ecgmoe_real trust_beats;                           /* shapes.TRUST_BEATS */
    ecgmoe_real trust_early;                           /* shapes.TRUST_EARLY */
    ecgmoe_real least_size;                            /* shapes.LEAST_SIZE */
    ecgmoe_real earliness[ECGMOE_EARLINESS_CLASSES - 1]; /* shapes.EARLINESS */
    int32_t margin_beats;                              /* shapes.MARGIN_BEATS */
} ecgmoe_shapes_constants;

/* A shape has running means of the margins of all its beats, and of those of each class of earliness. */
#define ECGMOE_MARGINS (1 + ECGMOE_EARLINESS_CLASSES)

typedef struct {
    ecgmoe_stored_form form[ECGMOE_FORM]; /* mean of its beats, over `scale` */
    ecgmoe_real scale;
    ecgmoe_real size; /* square root of the energy of the mean form */
    uint32_t seen;    /* number of its last beat */
    ecgmoe_real margin[ECGMOE_MARGINS];      /* of all beats, then by earliness */
    ecgmoe_beat_count beats[ECGMOE_MARGINS]; /* the number of beats in each */
} ecgmoe_shape;

typedef struct {
    const ecgmoe_shapes_constants *constants;
    ecgmoe_real correlation; /* DecisionRule.shape_correlation */
    ecgmoe_real early_share; /* DecisionRule.shape_early_share */
    uint32_t beats;
    uint8_t known; /* number of shapes */
    ecgmoe_shape shapes[ECGMOE_SHAPES];
} ecgmoe_shape_memory;

void ecgmoe_shapes_init(ecgmoe_shape_memory *memory, const ecgmoe_shapes_constants *constants, ecgmoe_real correlation,
                        ecgmoe_real early_share);

/*
 * Return the difference from a beat's margin to the expected margin of its shape, weighted, and learn the beat.
 *
 * `beat`: window in R amplitudes. `margin`: logit of V over N and S. `log_rr_ratio`: ln of the RR interval over the
 * mean of the 8 before; NaN if it says nothing, as in atrial fibrillation.
 */
ecgmoe_real ecgmoe_shapes_correction(ecgmoe_shape_memory *memory, const float beat[ECGMOE_GRID], ecgmoe_real margin,
                                     ecgmoe_real log_rr_ratio);

#endif

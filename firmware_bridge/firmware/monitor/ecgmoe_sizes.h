/*
 * Lengths of arrays, from the Python objects that own these arrays. Generated: change the Python objects, or
 * ecgmoe_edge/streaming/c_tables/sizes.py, and run `python -m ecgmoe_edge.streaming.c_tables`.
 */
#ifndef ECGMOE_SIZES_H
#define ECGMOE_SIZES_H

#define ECGMOE_GRID 103
#define ECGMOE_GRID_R 45
#define ECGMOE_RPEAK_GRID 59
#define ECGMOE_RPEAK_GRID_R 45
#define ECGMOE_FEATURES 27
#define ECGMOE_RR_FEATURES 15
#define ECGMOE_TEMPLATE_FEATURES 12
#define ECGMOE_RR_SEQUENCE 32
#define ECGMOE_PATHS 2
#define ECGMOE_MOST_LEADS 2
#define ECGMOE_MOST_CLASSES 5
#define ECGMOE_MOST_RHYTHMS 4
#define ECGMOE_MOST_OUTPUTS 8
#define ECGMOE_RR_MEMORY 300
#define ECGMOE_TEMPLATE_BEATS 16
#define ECGMOE_AMPLITUDE_BEATS 32
#define ECGMOE_QUALITY_BEATS 300
#define ECGMOE_LAYER_INPUTS 84
#define ECGMOE_LAYER_CLASSES 4
#define ECGMOE_WAVEFORM 25
#define ECGMOE_QRS_MEMORY 8
#define ECGMOE_QRS_INPUTS 16
#define ECGMOE_QRS_HIDDEN 16
#define ECGMOE_LOUD_PEAKS 8
#define ECGMOE_MOST_REJECTED 32
#define ECGMOE_SHIFTS 9
#define ECGMOE_STRONGEST 4
#define ECGMOE_RATE_BEATS 8

#endif

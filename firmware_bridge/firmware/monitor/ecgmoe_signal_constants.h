/*
 * All constants of the signal's stages. Made by `constants` in ecgmoe_edge/streaming/c_tables/signal.py.
 */
#ifndef ECGMOE_SIGNAL_CONSTANTS_H
#define ECGMOE_SIGNAL_CONSTANTS_H

#include "ecgmoe_intake.h"
#include "ecgmoe_lead.h"

typedef struct {
    ecgmoe_intake_constants intake;
    ecgmoe_lead_constants lead;
} ecgmoe_signal_constants;

#endif

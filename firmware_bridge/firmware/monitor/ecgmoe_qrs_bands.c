#include "ecgmoe_qrs_bands.h"

void ecgmoe_qrs_bands_start(ecgmoe_qrs_bands *bands, const ecgmoe_qrs_bands_constants *constants, ecgmoe_real x) {
    for (int order = 0; order < 4; order++) {
        for (int k = 0; k < ECGMOE_BANDS; k++) {
#ifdef ECGMOE_REAL_FLOAT
            bands->state[order][k] = constants->sections_rest[order][k] * x;
#else
            bands->state[order][k] = constants->rest[order][k] * x;
#endif
        }
    }
}

/*
 * Beat windows: the band-limited signal around an R peak, interpolated onto the model's 128 Hz grid.
 * Python: `WindowSampler` in signal/windows.py.
 */
#ifndef ECGMOE_WINDOWS_H
#define ECGMOE_WINDOWS_H

#include "ecgmoe_history.h"

/* Of one `WindowSampler`; made by `window_constants` in c_tables/signal.py, padded to ECGMOE_GRID points. */
typedef struct {
    int32_t points;  /* WindowSampler.size */
    int32_t r_index; /* point at R: numpy.flatnonzero(grid == 0)[0] */
    int32_t before, after;
    ecgmoe_real weights[ECGMOE_GRID][4];
    int32_t first[ECGMOE_GRID]; /* first sample of the four, counted from R */
} ecgmoe_window_constants;

/* Write the window (points) in mV of a beat with its R peak at sample `r`; zero where there is no signal, and from
 * sample `stop` on. */
void ecgmoe_window_read(const ecgmoe_window_constants *c, const ecgmoe_history *signal, int64_t r, int64_t stop,
                        float *window);

#endif

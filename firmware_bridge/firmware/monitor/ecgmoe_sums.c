#include "ecgmoe_sums.h"

#include <string.h>

void ecgmoe_moving_sums_restart(ecgmoe_moving_sums *s) {
    memset(s, 0, sizeof *s);
}

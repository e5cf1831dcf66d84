#include <stdio.h>

#include "session.h"

static void send(const uint8_t *bytes, size_t n) { fwrite(bytes, 1, n, stdout); }

int main(void) {
    uint32_t refused = play(20000, send);
    printf("refused%11lu\n", (unsigned long)refused);
    return 0;
}

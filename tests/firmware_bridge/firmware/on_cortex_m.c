/* Start-up code of a bare Cortex-M; the debugger's console (Arm semihosting) replaces the serial line. */
#include "session.h"

enum { SYS_OPEN = 1, SYS_WRITE = 5, SYS_EXIT = 24, FINISHED = 0x20026 };

extern uint32_t stack_top;
void reset(void);

__attribute__((section(".vectors"), used)) static const struct {
    const void *stack;
    void (*start)(void);
} vectors = {&stack_top, reset};

static uint32_t host(uint32_t call, const void *argument) {
    register uint32_t r0 __asm__("r0") = call;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uint32_t console;

static void send(const uint8_t *bytes, size_t n) {
    uint32_t block[3] = {console, (uint32_t)bytes, n};
    host(SYS_WRITE, block);
}

void reset(void) {
    uint32_t tty[3] = {(uint32_t) ":tt", 4, 3};
    uint8_t text[20] = "refused           \n";
    uint8_t *digit = text + 17;
    console = host(SYS_OPEN, tty);
    for (uint32_t refused = play(20000, send); refused > 0; refused /= 10)
        *digit-- = (uint8_t)('0' + refused % 10);
    send(text, 19);
    host(SYS_EXIT, (const void *)FINISHED);
    for (;;) {
    }
}

#ifndef SESSION_H
#define SESSION_H

#include <stddef.h>
#include <stdint.h>

/* Measure `samples` samples of two leads and send their frames. Returns the number that a full ring dropped. */
uint32_t play(uint32_t samples, void (*send)(const uint8_t *bytes, size_t n));

#endif

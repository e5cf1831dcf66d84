#ifndef SESSION_H
#define SESSION_H

#include <stddef.h>
#include <stdint.h>

/* Measure so many samples of two leads and send their frames; gives the samples that found the ring full. */
uint32_t play(uint32_t samples, void (*send)(const uint8_t *bytes, size_t n));

#endif

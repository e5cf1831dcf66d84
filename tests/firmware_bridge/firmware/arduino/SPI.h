#pragma once
#include "Arduino.h"

struct SPISettings {
    SPISettings(uint32_t, int, int) {}
};

struct SpiBus {
    void begin() {}
    void beginTransaction(const SPISettings &) {}
    uint8_t transfer(uint8_t byte);
};
extern SpiBus SPI;

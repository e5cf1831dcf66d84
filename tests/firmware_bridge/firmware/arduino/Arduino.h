// The part of Arduino's interface that the example uses.
#pragma once
#include <cstddef>
#include <cstdint>

enum { LOW, HIGH, INPUT, OUTPUT, MSBFIRST, SPI_MODE1 };

void pinMode(uint8_t pin, uint8_t mode);
void digitalWrite(uint8_t pin, uint8_t level);
int digitalRead(uint8_t pin);
void delay(uint32_t ms);
void delayMicroseconds(uint32_t us);
uint32_t micros();

struct SerialPort {
    void begin(uint32_t baud);
    int available();
    int read();
    int availableForWrite();
    size_t write(uint8_t byte);
};
extern SerialPort Serial;

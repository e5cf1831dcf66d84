// A simulated Uno with an ADS1292R: a clock, a serial line of 115200 baud with a buffer of 64 bytes, and a ramp signal.
// For four seconds in the middle the line accepts nothing, and for two other seconds an electrode is off.
#include "Arduino.h"
#include "SPI.h"

#include <cstdio>

#include "ads1292r.ino"

static uint64_t now_us;
static uint8_t registers[16], command, address;
static int position, waiting_on_line;
static bool selected, reading;
static int32_t sample;
static uint64_t last_sample;
static int asked;

SerialPort Serial;
SpiBus SPI;

void pinMode(uint8_t, uint8_t) {}
void delay(uint32_t ms) { now_us += ms * 1000ULL; }
void delayMicroseconds(uint32_t us) { now_us += us; }
uint32_t micros() { return (uint32_t)now_us; }

void digitalWrite(uint8_t pin, uint8_t level) {
    if (pin == PIN_SELECT) {
        selected = level == LOW;
        position = 0;
    }
}

int digitalRead(uint8_t pin) {
    if (pin != PIN_DATA_READY || !reading)
        return HIGH;
    uint64_t measured = now_us / 4000;
    return measured > last_sample ? LOW : HIGH;
}

uint8_t SpiBus::transfer(uint8_t byte) {
    if (!selected)
        return 0;
    int at = position++;
    if (reading && byte == 0) {
        if (at == 0) {
            last_sample = now_us / 4000;
            sample++;
        }
        bool off = sample >= 1500 && sample < 2000;
        const uint8_t bytes[9] = {(uint8_t)(0xC0 | (off ? 0x02 : 0)), 0, 0, 0, 0, 0,
                                  (uint8_t)(sample >> 16), (uint8_t)(sample >> 8), (uint8_t)sample};
        return at < 9 ? bytes[at] : 0;
    }
    if (at == 0) {
        command = byte & 0xF0, address = byte & 0x0F;
        if (byte == RDATAC)
            reading = registers[1] == 0x01;  // only after the registers were set
        else if (byte == SDATAC)
            reading = false;
    } else if (at == 2 && command == WREG) {
        registers[address] = byte;
    }
    return 0;
}

void SerialPort::begin(uint32_t) {}
int SerialPort::available() { return asked < 1; }
int SerialPort::read() { return asked++ == 0 ? 'S' : -1; }
int SerialPort::availableForWrite() { return 63 - waiting_on_line; }
size_t SerialPort::write(uint8_t byte) {
    waiting_on_line++;
    return putchar(byte) == EOF ? 0 : 1;
}

int main() {
    uint64_t sent_us = 0;
    setup();
    while (sample < 5000) {
        now_us += 20;
        bool blocked = sample >= 3000 && sample < 4000;
        for (; sent_us + 87 <= now_us; sent_us += 87)
            if (waiting_on_line > 0 && !blocked)
                waiting_on_line--;
        loop();
    }
    return 0;
}

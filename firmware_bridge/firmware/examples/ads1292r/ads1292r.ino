/*
 * Sends one ECG lead of an ADS1292R board over USB at 250 Hz, in the "ecgmoe" serial protocol.
 *
 * The pins are those of common shields for the Arduino Uno; change the four pin numbers for other boards. Register
 * values are from the chip's data sheet (TI SBAS502). The project's tests compile this sketch and run it against a
 * simulated chip; it has not been tested on a real board.
 */
#include <SPI.h>
#include <ecgmoe_frame.h>

const uint8_t PIN_DATA_READY = 6, PIN_SELECT = 7, PIN_START = 5, PIN_POWER_DOWN = 4;
const uint16_t RATE_HZ = 250;
const uint8_t PER_FRAME = 10; /* samples: 40 ms of signal */

/* The ECG is on channel 2. Reference 2.42 V, gain 6: 2.42 V / 6 / (2^23 - 1) = 48,081 pV per step. */
const ecgmoe_lead LEADS[1] = {{"II", 48081}};
ecgmoe_stream stream = {RATE_HZ, 1, LEADS, 1, "ADS1292R", 0, 0, 0, 0};
ecgmoe_ring ring;
uint8_t frame[ECGMOE_INFO_BYTES(1)]; /* larger than a samples frame of 10 */
size_t frame_bytes, frame_sent;
bool host_reads, info_needed;
uint32_t info_sent_us;

enum { SDATAC = 0x11, RDATAC = 0x10, RESET = 0x06, WREG = 0x40 };

void chip_command(uint8_t command) {
    digitalWrite(PIN_SELECT, LOW);
    SPI.transfer(command);
    delayMicroseconds(10);
    digitalWrite(PIN_SELECT, HIGH);
}

void chip_register(uint8_t address, uint8_t value) {
    digitalWrite(PIN_SELECT, LOW);
    SPI.transfer(WREG | address);
    delayMicroseconds(10);
    SPI.transfer(0); /* one register */
    delayMicroseconds(10);
    SPI.transfer(value);
    delayMicroseconds(10);
    digitalWrite(PIN_SELECT, HIGH);
}

void setup() {
    Serial.begin(115200);
    pinMode(PIN_DATA_READY, INPUT);
    pinMode(PIN_SELECT, OUTPUT);
    pinMode(PIN_START, OUTPUT);
    pinMode(PIN_POWER_DOWN, OUTPUT);
    digitalWrite(PIN_SELECT, HIGH);
    digitalWrite(PIN_START, LOW);
    digitalWrite(PIN_POWER_DOWN, HIGH);
    SPI.begin();
    SPI.beginTransaction(SPISettings(1000000, MSBFIRST, SPI_MODE1));
    delay(1000);
    chip_command(RESET);
    delay(10);
    chip_command(SDATAC);
    chip_register(0x01, 0x01); /* CONFIG1: 250 samples per second */
    chip_register(0x02, 0xE0); /* CONFIG2: reference on, comparators of the lead-off detection on */
    chip_register(0x03, 0x10); /* LOFF: lead off at 95 %, 6 nA, direct current */
    chip_register(0x04, 0x81); /* CH1SET: off */
    chip_register(0x05, 0x00); /* CH2SET: gain 6, the electrodes */
    chip_register(0x06, 0x2C); /* RLD_SENS: right leg driven from channel 2 */
    chip_register(0x07, 0x0C); /* LOFF_SENS: both electrodes of channel 2 */
    chip_register(0x09, 0x02); /* RESP1: respiration off */
    chip_register(0x0A, 0x03); /* RESP2: internal right leg reference */
    delay(10);
    digitalWrite(PIN_START, HIGH);
    chip_command(RDATAC);
}

/* 24 status bits (1100, then RLD IN2N IN2P IN1N IN1P), then 24 bits of each channel. */
void measure() {
    uint8_t bytes[9];
    digitalWrite(PIN_SELECT, LOW);
    for (uint8_t i = 0; i < 9; i++)
        bytes[i] = SPI.transfer(0);
    digitalWrite(PIN_SELECT, HIGH);
    int32_t value = (int32_t)((uint32_t)bytes[6] << 24 | (uint32_t)bytes[7] << 16 | (uint32_t)bytes[8] << 8) / 256;
    if (value < -8388607)
        value = -8388607; /* -8388608 means "not measured" in the protocol; here it is saturation */
    bool off = bytes[0] & 0x06;
    ecgmoe_ring_put(&ring, &stream, micros(), off ? 1 : 0, &value);
}

void listen() {
    while (Serial.available() > 0) {
        int command = Serial.read();
        if (command == ECGMOE_START) {
            if (stream.run == 0)
                stream.run = (uint16_t)(micros() | 1); /* the time of the first command is random enough */
            host_reads = info_needed = true;
        } else if (command == ECGMOE_PAUSE) {
            host_reads = false;
        }
    }
}

/* Never waits. If the serial line is slower than the chip, the ring fills, and dropped samples are counted. */
void send() {
    if (frame_sent == frame_bytes) {
        uint32_t now = micros();
        frame_sent = frame_bytes = 0;
        if (info_needed || now - info_sent_us >= 1000000UL) {
            info_needed = false;
            info_sent_us = now;
            frame_bytes = ecgmoe_info(&stream, now, frame, sizeof frame);
        } else if (ecgmoe_ring_waiting(&ring) >= PER_FRAME) {
            frame_bytes = ecgmoe_ring_frame(&ring, &stream, PER_FRAME, frame, sizeof frame);
        }
    }
    while (frame_sent < frame_bytes && Serial.availableForWrite() > 0)
        Serial.write(frame[frame_sent++]);
}

void loop() {
    listen();
    if (digitalRead(PIN_DATA_READY) == LOW)
        measure();
    if (host_reads)
        send();
}

"""TFLite files for LiteRT, and for TFLite Micro on a microcontroller."""

from ecgmoe_edge.converters.targets.tflite.target import TfliteTarget

TARGET = TfliteTarget()

"""ONNX files, for onnxruntime and what it hands them to."""

from ecgmoe_edge.converters.targets.onnx.target import OnnxTarget

TARGET = OnnxTarget()

"""ONNX files for onnxruntime and its execution providers."""

from ecgmoe_edge.converters.targets.onnx.target import OnnxTarget

TARGET = OnnxTarget()

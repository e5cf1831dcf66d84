"""Conversion of a student to model files (ONNX, TFLite), and the gates that compare them with PyTorch.

Workstation only: a device imports nothing from this package.
"""

"""From integer or float pieces to files for a runtime: ONNX, TFLite, and the gates that compare them with PyTorch.

Workstation only: nothing here is imported on a device.
"""

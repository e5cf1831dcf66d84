"""From a trained student to integer graphs: adapters merged, routers made static, quantization-aware
training.
"""

"""Compression of a trained student: LoRA merging, static top-1 routing, and quantization-aware training (QAT)."""

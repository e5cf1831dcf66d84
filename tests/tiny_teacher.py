"""The configuration of a very small teacher, which trains in seconds."""

from __future__ import annotations

TINY_TEACHER = """\
[teacher]
d = 16
heads = 2
stem = 4
rhythm_width = 16
morphology_kernels = [3, 5]
rhythm_experts = 2
lora_rank = 2

[[teacher.backbones]]
kind = "dlinear"
length = 80
"""

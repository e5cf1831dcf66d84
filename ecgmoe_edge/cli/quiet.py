"""Suppresses warnings and log messages of other libraries; their errors are still shown."""

from __future__ import annotations

import logging
import os
import warnings

_LIBRARIES = ("torch", "torchao", "litert_torch", "onnxscript", "onnx_ir")


def quiet_libraries() -> None:
    """Ignore warnings and log messages of other libraries; call this before they are imported."""
    warnings.filterwarnings("ignore", module=r"(?!ecgmoe_edge)")
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TORCH_LOGS", "-all")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GLOG_minloglevel", "3")

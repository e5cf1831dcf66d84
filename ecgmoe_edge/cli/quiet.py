"""Keeps the chatter of other people's libraries away from the person at the terminal; their errors still come."""

from __future__ import annotations

import logging
import os
import warnings

_TALKATIVE = ("torch", "torchao", "litert_torch", "onnxscript", "onnx_ir")


def quiet_libraries() -> None:
    """Ignore warnings and notes of everybody but ourselves; to be called before they are imported."""
    warnings.filterwarnings("ignore", module=r"(?!ecgmoe_edge)")
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TORCH_LOGS", "-all")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GLOG_minloglevel", "3")

"""Runs a trained model on a device: bundles (manifest and files), and inference engines with one interface."""

from ecgmoe_edge.runtime.bundle import (
    Bundle,
    BundleFiles,
    load_bundle,
    open_bundle,
    pack,
    shipped_bundle,
    write_bundle,
)
from ecgmoe_edge.runtime.patient_file import load_patient_layer

__all__ = [
    "Bundle",
    "BundleFiles",
    "load_bundle",
    "load_patient_layer",
    "open_bundle",
    "pack",
    "shipped_bundle",
    "write_bundle",
]

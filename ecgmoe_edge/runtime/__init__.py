"""What runs a trained model on a device: the bundle (manifest and files) and engines behind one protocol."""

from ecgmoe_edge.runtime.bundle import (
    Bundle,
    BundleFiles,
    load_bundle,
    open_bundle,
    pack,
    shipped_bundle,
    write_bundle,
)

__all__ = ["Bundle", "BundleFiles", "load_bundle", "open_bundle", "pack", "shipped_bundle", "write_bundle"]

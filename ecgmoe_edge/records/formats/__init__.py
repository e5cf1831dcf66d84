"""File formats of recordings, one module each: a module here that has a `FORMAT` is known to `records.registry`."""

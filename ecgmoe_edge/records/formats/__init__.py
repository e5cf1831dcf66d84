"""File formats of recordings, one module each; `records.registry` uses every module here that has a `FORMAT`."""

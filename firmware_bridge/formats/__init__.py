"""Wire formats of common ECG front ends, one module each, according to their published layouts (docs/protocols.md)."""

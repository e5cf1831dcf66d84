"""Wire formats of common ECG front ends, one module each, from their published layouts (docs/protocols.md)."""

"""Recordings in, in blocks: WFDB and CSV signals, beat annotations with their AAMI classes, named splits."""

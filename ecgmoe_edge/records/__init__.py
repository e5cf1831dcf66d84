"""Reads recordings of many formats block by block, beat annotations with their AAMI classes, and named splits."""

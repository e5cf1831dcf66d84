"""Reads the files of a WFDB record by their specification: header(5), signal(5) and annot(5) of the WFDB manual."""

"""The files of a WFDB record, each read by its specification: header(5), signal(5) and annot(5) of the WFDB manual."""

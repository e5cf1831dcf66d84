"""One HTML page about an evaluation: figures, missed beats, confusion matrix, calibration and the use of experts."""

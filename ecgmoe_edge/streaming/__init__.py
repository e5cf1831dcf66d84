"""The front end of a live ECG: filter, R peaks, beat windows, features, monitor. numpy and scipy only."""

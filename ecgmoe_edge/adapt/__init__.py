"""Fits a patient's own layer to labelled beats of one recording, and suggests the beats that are worth a label."""

"""Rhythm events: alarms, the rhythm by the model, and `tracker`, which combines them."""

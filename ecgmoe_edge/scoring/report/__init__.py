"""One HTML page about an evaluation: what was right, what was missed, how far scores can be believed, who did what."""

"""R peaks: candidates of each lead, their rating, and one detector for all leads."""

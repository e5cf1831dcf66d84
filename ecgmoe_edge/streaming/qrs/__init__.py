"""R peaks: candidates of each lead, their rating, and one detector for any number of leads."""

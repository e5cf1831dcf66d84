"""Patient history: R amplitude, template, RR intervals, beat shapes."""

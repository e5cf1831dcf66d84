"""What is remembered of the patient: amplitude, template, RR intervals, beat shapes."""

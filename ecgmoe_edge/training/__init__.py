"""Training: examples made with the streaming front end, fit of the teacher, distillation and validation."""

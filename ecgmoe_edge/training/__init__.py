"""Training examples made through the streaming front end, teacher fit, distillation and validation."""

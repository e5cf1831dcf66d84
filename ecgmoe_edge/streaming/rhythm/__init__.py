"""Rhythm: pause and asystole, rates, V runs, and the model's rhythm; an alarm a file, `tracker` over them."""

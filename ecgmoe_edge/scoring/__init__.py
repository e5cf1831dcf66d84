"""Figures of merit: EC57 beat by beat, over the whole live pipeline."""

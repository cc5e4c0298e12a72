"""Figures in batch: inputs and options in, files that say how they were made out."""

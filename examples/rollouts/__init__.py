"""Driving without a table: `python -m examples.rollouts`."""

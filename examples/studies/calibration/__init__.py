"""Posteriors judged by rewards that simulated designers meant: `python -m examples.studies.calibration`."""

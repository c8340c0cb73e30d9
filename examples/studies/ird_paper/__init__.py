"""The IRD paper's study, four conditions of it: `python -m examples.studies.ird_paper`."""

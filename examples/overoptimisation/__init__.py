"""How hard a reward learnt from comparisons may be optimised: `python -m examples.overoptimisation`."""

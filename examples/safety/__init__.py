"""Worlds with a written and a hidden reward, and what can be done with what was written elsewhere."""

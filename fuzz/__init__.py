"""A machine that looks for the next wrong number: problems drawn off every path, promises held against plain NumPy.

`make fuzz` runs it; `python -m fuzz --help` says how. A family draws problems from a seed (`problems`, `beliefs`),
asks the library, and holds what the library promises against slow, obvious answers (`truth`). Every promise is a row
of the report: tried, held, the worst error as a share of what was allowed.
"""

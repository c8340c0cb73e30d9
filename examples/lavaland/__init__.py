"""Careful plans through lava that the designer never saw: `python -m examples.lavaland`."""

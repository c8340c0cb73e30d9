"""Cooperative inverse reinforcement learning: games in which only the human knows the reward.

The game and its solvers are being built; this package holds their place.
"""

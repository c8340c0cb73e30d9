"""Overseeing what one cannot judge alone: small exact worlds for debate and its relatives, on the host in NumPy."""

from cirl.oversight import debate

__all__ = ["debate"]
__dir__ = __all__.copy

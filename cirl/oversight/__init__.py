"""Overseeing what one cannot judge alone: small exact worlds for debate and its relatives, on the host in NumPy."""

from cirl.oversight import amplification, debate, principles, recursive

__all__ = ["amplification", "debate", "principles", "recursive"]
__dir__ = __all__.copy

"""Alignment from demonstrations: what can demonstrations alone do?"""

__version__ = "0.1.0"

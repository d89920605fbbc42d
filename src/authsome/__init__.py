"""authsome lends credentials to programs without giving them away."""

__version__ = "0.1.0"

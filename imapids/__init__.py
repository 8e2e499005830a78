"""Is this traffic on port 143 really IMAP, and if not, what is it, and how do we know?"""

__all__ = ["__version__"]

__version__ = "0.1.0"

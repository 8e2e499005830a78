"""First bytes -> candidate: which parser a conversation goes to, or which protocol or shape it looks like."""

from imapids.sniff.sniffer import sniff

__all__ = ["sniff"]

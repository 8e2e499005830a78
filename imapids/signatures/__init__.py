"""YARA rules over the first bytes of each side of a conversation, and over what was inflated: `signature` events."""

from imapids.signatures.scanner import Signatures

__all__ = ["Signatures"]

"""Stream and candidate -> facts and events of a dialogue: sans-io machines, one for each protocol that is followed."""

from imapids.parse.imap import ImapDialogue

__all__ = ["ImapDialogue"]

"""Stream and candidate -> facts and events of a dialogue: sans-io machines, one for each protocol that is followed.

`tls` and `deflate` are imported by who meets such a stream.
"""

from imapids.parse.imap import ImapDialogue
from imapids.parse.plain import PlainDialogue
from imapids.parse.plain_data import Capabilities
from imapids.parse.plain_reader import PlainReader
from imapids.parse.plain_turns import Greeting

__all__ = ["Capabilities", "Greeting", "ImapDialogue", "PlainDialogue", "PlainReader"]

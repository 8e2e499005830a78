"""Where packets come from: capture files of every kind, read as columns.

Reasons of damage (`Damage.reason`): `cut` (the capture ends inside a record), `bad-record` and `bad-block` (a header
that cannot be), `foreign-bytes` (zeros where a record must start), `oversized-record` (longer than any packet, skipped
whole), `unknown-interface` and `captured-past-block` (pcapng packets that lie about themselves), `unsupported` (a later
section of another version), `container` (the compressed stream is damaged, or inflates beyond reason), `read-error`
(the operating system failed), `given-up` (too many damaged places).
"""

from imapids.capture.reader import CaptureReader, open_captures

__all__ = ["CaptureReader", "open_captures"]

"""What analysts hold: explanations of single sessions, their packets, and rules tried on their samples."""

from imapids.desk.explain import Explanation, explain
from imapids.desk.extract import Extracted, Wanted, extract
from imapids.desk.transcript import Line, Transcript

__all__ = ["Explanation", "Extracted", "Line", "Transcript", "Wanted", "explain", "extract"]

"""What analysts hold: explanations of single sessions, and rules tried on their samples."""

from imapids.desk.explain import Explanation, explain
from imapids.desk.transcript import Line, Transcript

__all__ = ["Explanation", "Line", "Transcript", "explain"]

"""Facts of a session -> what it is, how sure that is, and why: pure functions, called as often as wanted."""

from imapids.judge.history import history
from imapids.judge.remembered import AT_GREETING, REMEMBERED, judge_plain
from imapids.judge.session import judge

__all__ = ["AT_GREETING", "REMEMBERED", "history", "judge", "judge_plain"]

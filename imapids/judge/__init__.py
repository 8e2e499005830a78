"""Facts of a session -> what it is, how sure that is, and why: pure functions, called as often as wanted."""

from imapids.judge.session import judge

__all__ = ["judge"]

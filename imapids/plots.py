"""Charts of an analysis for notebooks and reports (extra `report`): frames in, altair charts out."""

from imapids.desk.plots import beacon_rhythm, exposure_map, login_outcomes, session_turns, timeline

__all__ = ["beacon_rhythm", "exposure_map", "login_outcomes", "session_turns", "timeline"]

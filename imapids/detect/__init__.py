"""Events and rules to alerts: Sigma rules are compiled once, evaluated by field value, and every match says why."""

from __future__ import annotations

from imapids.detect.compiled import RuleSet
from imapids.detect.detector import Detector, MatchWatcher
from imapids.detect.loading import load_rules
from imapids.detect.rolling import Subject
from imapids.detect.rule_files import Fault

__all__ = ["Detector", "Fault", "MatchWatcher", "RuleSet", "Subject", "load_rules"]

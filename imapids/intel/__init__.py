"""Indicators of compromise from feeds and colleagues, and the events and addresses that they match."""

from imapids.intel.files import load_indicators
from imapids.intel.indicators import IndicatorSet
from imapids.intel.matcher import Matcher

__all__ = ["IndicatorSet", "Matcher", "load_indicators"]

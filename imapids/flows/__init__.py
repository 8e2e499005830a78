"""Segments to ordered bytes: the flow table, stream assembly and reassembly."""

from imapids.flows.grouping import Keyed
from imapids.flows.table import FlowTable

__all__ = ["FlowTable", "Keyed"]

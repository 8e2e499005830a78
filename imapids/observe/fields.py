"""Where compiled loops find the fields of events (imapids/kernels/observers.pxi): one place for all observers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from imapids import kernels
from imapids.records.events import MINUTE, Event, Login, Message, Session
from imapids.records.streams import Flow

if TYPE_CHECKING:
    from imapids.kernels._events import Seen, SignIns


@lru_cache(maxsize=1)
def seen_fields() -> Seen:
    """The fields of events, of their flows and of the bodies that are counted most."""
    return kernels.events.Seen(Event, Flow, Session, Login, Message)


@lru_cache(maxsize=1)
def sign_ins() -> SignIns:
    """The loops over logins."""
    return kernels.events.SignIns(seen_fields(), minute=MINUTE)

"""An interface as an iterator: loopback, where this user may read it."""

import os
import socket
import threading
import time

import pytest

import imapids
from imapids.errors import InputError, UsageError
from imapids.records.events import Event


def may_read_packets():
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except (OSError, AttributeError):
        return False
    return True


needs_packets = pytest.mark.skipif(not may_read_packets(), reason="needs the right to read packets (CAP_NET_RAW)")


def speak(watch, port):
    """Talks to a UDP port of this host until the watch has had time to see it, then stops the watch."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(10):
            client.sendto(b"\x01\x02 not mail \x03", ("127.0.0.1", port))
            time.sleep(0.05)
    watch.stop()


@needs_packets
def test_packets_of_loopback_become_events_and_stop_tells_the_rest():
    with imapids.watch_interface("lo", allow_root=True, events="session,capture", watch="14399/udp",
                                 filter="watched") as watch:
        talker = threading.Thread(target=speak, args=(watch, 14_399))
        talker.start()
        records = list(watch)
        talker.join()
    (session,) = [record for record in records if isinstance(record, Event) and record.kind == "session"]
    assert (session.flow.server, session.flow.server_port) == ("127.0.0.1", 14_399)
    assert records[-1].kind == "capture"
    assert watch.result.capture.body.packets >= 10
    assert list(watch) == []
    assert imapids.Analysis(records).sessions["proto"].tolist() == ["UDP"]


@needs_packets
def test_a_watch_that_is_closed_is_over():
    with imapids.watch_interface("lo", allow_root=True, filter="watched", stats_seconds=0.2) as watch:
        assert next(watch).kind == "stats"
    assert list(watch) == []
    assert watch.result is None


@needs_packets
def test_an_interface_that_is_not_there_raises():
    with pytest.raises(InputError), imapids.watch_interface("nosuch0", allow_root=True) as watch:
        next(watch)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_is_refused():
    with pytest.raises(UsageError, match="allow_root"), imapids.watch_interface("lo") as watch:
        next(watch)


def test_wrong_options_say_what_was_wanted():
    with pytest.raises(UsageError, match="Did you mean 'home_net'"):
        imapids.watch_interface("lo", home_nett="x")

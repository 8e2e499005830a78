"""The lines of the exposure sheet: states, sides, what servers say, relays, the inventory, and cuts of the rows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from helpers.ended_flows import Row, ended_flows, parts
from hypothesis import given, settings
from hypothesis import strategies as st

from imapids.config import HOME_NETS, ObserveLimits
from imapids.observe import Allowed, Told
from imapids.observe.askers import askers
from imapids.observe.exposure import ExposureObserver
from imapids.observe.inventory import Inventory
from imapids.protocols.addresses import Networks
from imapids.records.events import Event, Exposure, Login, Service
from imapids.records.flows import EndedFlows
from imapids.records.streams import Flow

HOME = Networks(HOME_NETS)
DESK, STRANGER, SERVER = "10.20.1.40", "198.51.100.9", "10.20.0.25"
OFFICE = Allowed(servers=(SERVER,), ports=(143, 993), clients=("10.20.0.0/16",), protocols=("imap", "tls"))


def observer_of(inventory: Sequence[Allowed] | None = None, **limits: int) -> ExposureObserver:
    return ExposureObserver(ObserveLimits(**limits), HOME, None if inventory is None else Inventory(inventory, HOME))


def services(ended: EndedFlows, *said: tuple[int, Service]) -> tuple[list[Event], list[int]]:
    """Events of some of the conversations."""
    flows = ended.describe([position for position, _ in said])
    return ([Event("service", flow.start_ns, body, flow, flow.first_packet) for (_, body), flow in zip(
        said, flows, strict=True)], [int(ended.known[position]) for position, _ in said])


def told_of(records: Sequence[EndedFlows], observer: ExposureObserver) -> list[Told]:
    told = [each for record in records for each in observer.see_flows(record)]
    return told + observer.finish(10**15, 1_000_000)


def lines(rows: Sequence[Row], observer: ExposureObserver | None = None) -> dict[tuple[str, int], Exposure]:
    """The last line of each server and port."""
    return {(event.flow.server, event.flow.server_port): event.body  # type: ignore[union-attr, misc]
            for _, event in told_of([ended_flows(rows)], observer or observer_of())}


@pytest.mark.parametrize(("way", "state"), [
    pytest.param("talk", "open", id="a conversation"),
    pytest.param("half-open", "open", id="an answered SYN"),
    pytest.param("banner", "open", id="a greeting"),
    pytest.param("one-sided", "open", id="only the client's half was captured, and it went on"),
    pytest.param("refused", "closed", id="a reset"),
    pytest.param("silent", "stealth", id="no answer"),
    pytest.param("udp-answered", "open", id="UDP that is answered"),
])
def test_what_an_answer_says_of_a_port(way: str, state: str) -> None:
    (line,) = lines([Row(DESK, SERVER, way=way)]).values()
    assert (line.state, line.asked_by, line.open_to) == (state, ["lan"], ["lan"] if state == "open" else [])
    assert (line.connections, line.home, line.final) == (1, True, True)


@pytest.mark.parametrize("way", ["fin", "null", "xmas", "ack", "tail"])
def test_segments_without_syn_say_nothing_of_a_port(way: str) -> None:
    assert lines([Row(DESK, SERVER, way=way)]) == {}


def test_open_once_is_open_and_every_side_is_counted() -> None:
    rows = [Row(DESK, SERVER, way="silent"), Row(DESK, SERVER, way="talk"), Row(STRANGER, SERVER, way="talk"),
            Row(STRANGER, SERVER, way="refused"), Row("198.51.100.10", SERVER, way="talk")]
    (line,) = lines(rows).values()
    assert (line.state, line.open_to, line.asked_by) == ("open", ["lan", "wan"], ["lan", "wan"])
    assert (line.answered, line.refused, line.unanswered, line.connections_wan) == (3, 1, 1, 3)
    assert (line.clients_lan, line.clients_wan) == (1, 2)
    assert line.networks == ["10.20.1.0/24", "198.51.100.0/24"]
    assert line.networks_asking == ["198.51.100.0/24"]


def test_other_ports_are_on_the_sheet_where_imap_was_found() -> None:
    rows = [Row(DESK, SERVER, 8080, "talk", selected=0), Row(DESK, SERVER, 2143, "talk", selected=2)]
    assert set(lines(rows)) == {(SERVER, 2143)}


def test_a_line_is_told_when_a_word_of_it_changes() -> None:
    rows = [Row(DESK, SERVER, 993, "talk"), Row(DESK, SERVER, 993, "talk"), Row(STRANGER, SERVER, 993, "talk"),
            Row(STRANGER, SERVER, 993, "talk")]
    ended, observer = ended_flows(rows), observer_of()
    smtp = Service(protocol="smtp", banner="220 mail ESMTP Postfix", software="Postfix", sign_in_in_clear=True)
    observer.see(*services(ended, (1, smtp), (3, smtp)))
    told = told_of([ended], observer)
    assert [(known, event.body.changes) for known, event in told] == [
        (1, ["state", "open-to-lan"]), (2, ["service", "software", "sign-in"]), (3, ["open-to-wan"]), (1_000_000, [])]
    last = told[-1][1].body
    assert (last.service, last.software, last.banner) == ("smtp", "Postfix", "220 mail ESMTP Postfix")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.sampled_from([SERVER, "10.20.0.26"])),
                min_size=1, max_size=12), st.data())
def test_what_was_said_stands_at_the_row_of_its_conversation(
        shown: list[tuple[int, int, str]], data: st.DataObject) -> None:
    shown.sort(key=lambda row: row[0])  # conversations of several captures may begin in packets of one number
    ended = ended_flows([Row(DESK, server, 25, "talk", known=known) for known, _, server in shown])
    ended.first_number[:] = [first for _, first, _ in shown]
    said = data.draw(st.lists(st.integers(0, len(shown) - 1), max_size=12))
    flows = ended.describe(said)
    for flow, row in zip(flows, said, strict=True):
        flow.first_packet = shown[row][1]
    expected = []
    for flow, row in zip(flows, said, strict=True):
        alike = [place for place, other in enumerate(shown) if other == shown[row]]
        expected.append((alike[0], flow.flow_id))
    observer = observer_of()
    observer.see([Event("service", 0, Service(), flow) for flow in flows], [shown[row][0] for row in said])
    asked = askers(ended, observer._home)
    assert asked is not None
    assert asked.at.tolist() == list(range(len(shown)))
    places, heard = observer._heard(asked)
    found = [(place, speech[4].flow_id) for place, speech in zip(places.tolist(), heard, strict=True)]
    assert found == sorted(expected, key=lambda pair: pair[0])


def test_a_host_that_goes_on_upstream_relays() -> None:
    proxy, provider = "10.20.1.44", "203.0.113.25"
    rows = [Row(STRANGER, proxy, 143, "talk", at=0.0), Row(proxy, provider, 993, "talk", at=0.5),
            Row(DESK, provider, 993, "talk", at=1.0), Row(proxy, provider, 995, "talk", at=2.0)]
    line = lines(rows)[proxy, 143]
    assert (line.proxy, line.relayed, line.upstream) == (["relays"], 1, [provider])
    late = [rows[0], Row(proxy, provider, 993, "talk", at=60.0)]
    assert lines(late)[proxy, 143].proxy == []


def test_users_that_name_a_server_are_a_sign_of_a_proxy() -> None:
    observer, ended = observer_of(), ended_flows([Row(STRANGER, SERVER, 110, "talk")])
    flow = ended.describe([0])[0]
    observer.see([Event("login", 0, Login(mechanism="login", outcome="failure", user="maria#imap.example.net"), flow)],
                 [1])
    assert observer._relayed_flows == {flow.flow_id}


@pytest.mark.parametrize(("row", "said", "unexpected"), [
    pytest.param(Row(DESK, SERVER, 143, "talk"), None, [], id="what the inventory names"),
    pytest.param(Row(DESK, "10.20.1.61", 143, "talk"), None, ["service"], id="a server that it does not name"),
    pytest.param(Row(DESK, SERVER, 25, "talk"), None, ["service"], id="a port that it does not name"),
    pytest.param(Row(DESK, SERVER, 25, "refused"), None, [], id="a closed port is nothing unexpected"),
    pytest.param(Row(STRANGER, SERVER, 143, "talk"), None, ["client-network"], id="a client from elsewhere"),
    pytest.param(Row(DESK, SERVER, 993, "talk"), Service(protocol="ssh"), ["protocol"], id="another protocol"),
    pytest.param(Row(DESK, SERVER, 993, "talk"), Service(protocol="imap", sign_in_in_clear=True), ["clear-text"],
                 id="a sign-in before TLS"),
    pytest.param(Row(DESK, "203.0.113.1", 143, "talk"), None, [], id="servers elsewhere are not its affair"),
])
def test_what_the_inventory_does_not_allow(row: Row, said: Service | None, unexpected: list[str]) -> None:
    observer, ended = observer_of([OFFICE]), ended_flows([row])
    if said is not None:
        observer.see(*services(ended, (0, said)))
    (last,) = {id(event): event.body for _, event in told_of([ended], observer)[-1:]}.values()
    assert last.unexpected == unexpected


def test_an_inventory_that_is_read_again_is_held_against_what_is_there() -> None:
    observer = observer_of([OFFICE])
    rows = [Row(DESK, SERVER, 143, "talk"), Row(DESK, "10.20.1.61", 143, "talk"), Row(STRANGER, SERVER, 143, "talk")]

    def unexpected() -> dict[str, list[str]]:
        return {event.flow.server: event.body.unexpected  # type: ignore[union-attr]
                for _, event in observer.see_flows(ended_flows(rows))}

    assert unexpected() == {SERVER: ["client-network"], "10.20.1.61": ["service"]}
    assert unexpected() == {}  # nothing new
    observer.expect(Inventory([msgspec.structs.replace(OFFICE, servers=("10.20.1.61",), clients=())], HOME))
    assert unexpected() == {SERVER: ["service"]}
    observer.expect(Inventory([OFFICE], HOME))
    assert unexpected() == {SERVER: ["client-network"], "10.20.1.61": ["service"]}
    observer.expect(None)
    assert unexpected() == {}


def test_a_sweep_of_addresses_that_do_not_exist_is_cut_short_and_counted() -> None:
    observer = observer_of(closed_endpoints=10)
    rows = [Row(STRANGER, f"10.0.{number >> 8}.{number & 255}") for number in range(500)]
    rows.append(Row(STRANGER, SERVER, way="talk"))
    told = told_of([ended_flows(rows)], observer)
    assert sum(event.body.state == "stealth" for _, event in told) == 10
    assert sum(event.body.state == "open" and event.body.final for _, event in told) == 1
    assert observer.limits_hit == {"exposure-closed-endpoints": 490}


def test_a_full_sheet_drops_the_quietest_lines() -> None:
    observer = observer_of(endpoints=16)
    rows = [Row(STRANGER, f"10.0.{number >> 8}.{number & 255}", way="talk", at=number) for number in range(100)]
    told = told_of([ended_flows(rows)], observer)
    assert sum(event.body.final for _, event in told) == 100
    assert observer.limits_hit["exposure-endpoints"] >= 80


def test_events_of_conversations_without_server_are_passed_over() -> None:
    flow = Flow(protocol="TCP", client=DESK, client_port=1, server=SERVER, server_port=143)
    observer = observer_of()
    observer.see([Event("capture", 0, Service()), Event("session", 0, Login(mechanism="x", outcome="y"), flow)], [1, 1])
    assert told_of([], observer) == []


ROWS = st.builds(
    Row, client=st.sampled_from([DESK, "10.20.1.41", STRANGER, "203.0.113.4", "2001:db8::5", SERVER]),
    server=st.sampled_from([SERVER, "10.20.1.44", "203.0.113.25", "fd00::25"]),
    port=st.sampled_from([25, 110, 143, 993]),
    way=st.sampled_from(["talk", "silent", "refused", "half-open", "banner"]),
    at=st.integers(0, 40).map(float))
SAID = st.builds(Service, protocol=st.sampled_from(["imap", "smtp", "ssh"]), software=st.sampled_from(["", "Dovecot"]),
                 sign_in_in_clear=st.booleans(), proxy=st.sampled_from([[], ["banner"]]))


@pytest.mark.parametrize("cut", [pytest.param(cut, id=f"cut before row {cut}") for cut in range(1, 9)])
def test_a_relay_whose_endpoint_made_room_takes_no_room_again(cut: int) -> None:
    others = [f"203.0.113.{number}" for number in range(60, 65)]
    upstream = "198.51.100.143"
    rows = [Row(DESK, SERVER, way="talk", at=0.0), *(Row(DESK, other, way="talk", at=0.1) for other in others),
            Row(SERVER, upstream, way="talk", at=0.2), *(Row(DESK, other, way="talk", at=0.3) for other in others[:2])]
    ended, results = ended_flows(rows), []
    for records in ([ended], parts(ended, [cut])):
        observer = observer_of([OFFICE], endpoints=4)
        told = [each for record in records for each in observer.see_flows(record)]
        results.append([(known, event.body) for known, event in told + observer.finish(10**15, 99)])
    assert results[0] == results[1]
    assert not any(body.relayed for _, body in results[0])


@given(st.lists(st.tuples(ROWS, st.none() | SAID), max_size=60), st.lists(st.integers(0, 60), max_size=5))
@settings(max_examples=60, deadline=None)
def test_how_rows_are_cut_changes_nothing(talks: list[tuple[Row, Service | None]], cuts: list[int]) -> None:
    ended = ended_flows([row for row, _ in talks])
    said = [(position, body) for position, (_, body) in enumerate(talks) if body is not None]
    for limits in ({}, {"endpoints": 4, "closed_endpoints": 2, "relay_connections": 8}):
        results = []
        for records in ([ended] if talks else [], parts(ended, [min(cut, len(talks)) for cut in cuts])):
            observer, told = observer_of([OFFICE], **limits), []
            for record in records:
                low, high = int(record.first_number[0]) - 1, int(record.first_number[-1]) - 1
                mine = [(position, body) for position, body in said if low <= position <= high]
                if mine:
                    observer.see(*services(ended, *mine))
                told += observer.see_flows(record)
            results.append([(known, event.body, event.flow) for known, event in told + observer.finish(10**15, 99)])
        assert results[0] == results[1]

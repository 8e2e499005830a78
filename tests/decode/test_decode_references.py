"""Captures of other projects: what tshark sees, and what their own tests demand."""

from __future__ import annotations

import csv
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.frames import check_account, readable

from imapids.capture import open_captures
from imapids.config import DecodeLimits
from imapids.decode import Decoder
from imapids.errors import InputError
from imapids.records.segments import DecodeAccount, EncapsulationTable


@dataclass
class Reading:
    """What decode made of a capture."""

    packets: int = 0
    segments: list[dict[str, Any]] = field(default_factory=list)
    account: DecodeAccount = field(default_factory=DecodeAccount)
    icmp_errors: int = 0

    @property
    def tcp(self) -> list[dict[str, Any]]:
        return [segment for segment in self.segments if segment["protocol"] == 6]

    @property
    def notes(self) -> dict[str, int]:
        return self.account.notes

    @property
    def skipped(self) -> dict[str, int]:
        return self.account.skipped

    def tuples(self) -> Counter[str]:
        return Counter(tuple_text(segment) for segment in self.segments)

    def bytes_of(self, sport: int) -> int:
        """Distinct payload bytes of a side of a TCP flow, by sequence number."""
        ends = {segment["seq"]: segment["length"] for segment in self.tcp if segment["sport"] == sport}
        return sum(ends.values())


def tuple_text(segment: dict[str, Any]) -> str:
    ends = sorted(f"{segment[host]}#{segment[port]}" for host, port in (("src", "sport"), ("dst", "dport")))
    return " ".join(("tcp" if segment["protocol"] == 6 else "udp", *ends))


def read(path: Path) -> Reading:
    reading, table = Reading(), EncapsulationTable()
    decoder = Decoder(DecodeLimits(), table)
    try:
        for batch in open_captures([str(path)]):
            reading.packets += len(batch)
            decoded = decoder.feed(batch)
            reading.segments += readable(decoded.segments, table)
            reading.icmp_errors += len(decoded.icmp_errors)
    except InputError:
        return reading  # no packet at all
    decoder.finish()
    check_account(decoder.account)
    reading.account = decoder.account
    return reading


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


# ---- hard to read: tshark is the judge -------------------------------------------------------------------------------


def differences(row: dict[str, str], reading: Reading) -> dict[str, int]:
    """What is not as tshark says: the number that we have more, or how many 5-tuples have another count."""
    tcp = reading.tcp
    ours = {"packets": reading.packets, "tcp_packets": len(tcp),
            "tcp_payload_packets": sum(segment["length"] > 0 for segment in tcp)}
    found = {name: number - int(row[name]) for name, number in ours.items() if number != int(row[name])}
    expected = {}
    for item in filter(None, row["tuples(innermost, client-less order, up to 40)"].split(";")):
        kind, one, other_count = item.split(" ")
        other, count = other_count.rsplit("=", 1)
        expected[" ".join((kind, *sorted((one, other))))] = int(count)
    tuples = reading.tuples()
    different = {name for name, count in expected.items() if tuples.get(name, 0) != count}
    if len(expected) < 40:  # the list is complete
        different |= tuples.keys() - expected.keys()
    return found | ({"tuples": len(different)} if different else {})


def test_packets_payloads_and_tuples_are_those_of_tshark(shared):
    folder = shared / "hard" / "read"
    listed = tomllib.loads(Path(__file__).with_name("differences.toml").read_text())["difference"]
    explained = {name: entry["what"] for entry in listed for name in entry["files"]}
    found = {}
    for row in rows(folder / "expected.tsv"):
        different = differences(row, read(folder / row["file"]))
        if different:
            found[row["file"]] = different
    assert found == explained


# ---- catalogue: what the projects demand of their captures -----------------------------------------------------------


def flows(count: int) -> Any:
    return lambda r: len({tuple_text(segment) for segment in r.segments}) == count


def rebuilt(length: int) -> Any:
    return lambda r: [(s["length"], len(s["payload"]), s["fragmented"]) for s in r.segments] == [(length, length, True)]


def sides(one: int, other: int) -> Any:
    """Payload bytes of the two sides of the only TCP flow."""
    def check(r: Reading) -> bool:
        totals = [r.bytes_of(port) for port in {segment["sport"] for segment in r.tcp}]
        return len({tuple_text(segment) for segment in r.tcp}) == 1 and sorted(totals) == sorted((one, other))

    return check


def skipped(**reasons: int) -> Any:
    return lambda r: all(r.skipped.get(name.replace("_", "-")) == number for name, number in reasons.items())


def noted(name: str) -> Any:
    return lambda r: r.notes.get(name, 0) > 0


def vlans(*ids: int) -> Any:
    return lambda r: bool(r.segments) and all(segment["vlan"] == ids for segment in r.segments[-1:])


DEMANDS = {
    "H086": rebuilt(0), "H087": rebuilt(1000), "H089": rebuilt(1000), "H090": rebuilt(0), "H091": rebuilt(1000),
    "H092": rebuilt(65507),
    "H093": noted("fragment-end-conflict"), "H094": skipped(fragment_duplicate=1),
    "H095": skipped(fragment_incomplete=5), "H096": noted("fragment-conflict"),
    "H099": lambda r: flows(4)(r) and sum(s["length"] for s in r.tcp) == 412,
    "H101": noted("fragment-overlap"), "H102": noted("fragment-overlap"), "H103": noted("fragment-overlap"),
    "H105": skipped(bad_fragment=1), "H109": skipped(bad_fragment=1), "H110": skipped(fragment=3),
    "H111": skipped(icmpv6=37), "H114": skipped(icmpv6=5),
    "H115": lambda r: r.segments[0]["dst"] == "2001:78:1:32::2" and noted("routing-header")(r),
    "H116": skipped(bad_extension_header=1), "H118": lambda r: r.segments == [],
    "H120": skipped(icmp=3), "H121": skipped(icmp=2), "H122": lambda r: flows(2)(r) and vlans(13, 10)(r),
    "H123": lambda r: len({segment["vlan"] for segment in r.segments}) == 3,
    "H124": lambda r: flows(1)(r) and vlans()(r), "H125": lambda r: flows(1)(r) and vlans(30, 20, 10)(r),
    "H127": skipped(icmp=2), "H129": skipped(arp=2), "H130": flows(3), "H131": flows(3),
    "H135": lambda r: r.segments == [] and r.notes == {},
    "H138": lambda r: flows(5)(r) and skipped(icmp=10)(r) and sum(s["length"] for s in r.tcp) == 952 + 1671,
    "H141": lambda r: sum(s["length"] for s in r.tcp) == 72 + 379,
    "H143": skipped(icmp=10), "H144": skipped(icmp=4), "H145": skipped(icmp=2), "H148": skipped(icmp=4),
    "H149": lambda r: sides(30, 27)(r) and r.segments[0]["tunnels"][1].startswith("vxlan"),
    "H150": sides(87, 9212), "H151": lambda r: len({tuple_text(s) for s in r.tcp}) == 4, "H152": flows(1),
    "H155": sides(781, 23111), "H157": flows(1), "H159": lambda r: len(r.tcp) == 1,
    "H161": lambda r: len(r.tcp) == 22 and r.tcp[0]["tunnels"] == ("teredo",), "H165": skipped(too_many_layers=1),
    "H168": flows(1), "H170": skipped(arp=1, rarp=1, icmpv6=2, icmp=2), "H171": flows(1),
    "H172": skipped(nflog_no_payload=1), "H173": sides(37, 77), "H174": lambda r: sum(r.skipped.values()) == 5,
    "H176": skipped(bad_tcp_header=2, bad_udp_length=4, cut_header=2), "H185": noted("presumed-offload"),
    "H186": flows(1), "H187": flows(1), "H189": flows(1), "H190": skipped(bad_ip_header=1),
    "H191": lambda r: noted("ip-length-past-frame")(r) and len(r.segments) == 1, "H192": skipped(bad_ip_length=1),
    "H194": skipped(cut_header=1), "H195": sides(16, 191),
    # H197: 80,000 bytes of IPv6 payload, 32 of them the TCP header.
    "H197": lambda r: len(r.tcp[0]["payload"]) == 79968, "H198": lambda r: len(r.tcp[0]["payload"]) == 80000,
    "H199": lambda r: len(r.tcp[0]["payload"]) == 80000 and r.tcp[0]["tunnels"] == ("vxlan:5001",),
    "H200": lambda r: len(r.tcp[0]["payload"]) == 7240, "H201": lambda r: len(r.tcp[0]["payload"]) == 1976,
}
"""The column `demand_of_imapids`, as far as it is a matter of decode, by capture."""

CLASSES = {"vlan", "mpls", "ppp", "gre", "erspan", "vxlan", "geneve", "gtp", "teredo", "ipip", "layers", "link",
           "trunc", "jumbo", "ip-frag", "ip6-frag", "ip6-ext"}


def test_catalogue_captures_meet_their_demands(shared):
    folder = shared / "hard" / "catalogue"
    listed = rows(folder / "expected.tsv")
    named = {row["capture"].partition(".")[0]: row for row in listed if row["class"] in CLASSES}
    missing = named.keys() - DEMANDS.keys()
    assert not missing, f"captures without a check: {sorted(missing)}"
    unmet = [name for name, row in named.items() if not DEMANDS[name](read(folder / row["capture"]))]
    assert unmet == []


def test_every_catalogue_capture_is_accounted_for(shared):
    for path in sorted((shared / "hard" / "catalogue").glob("H*")):
        read(path)


def test_a_hundred_thousand_fragments_that_never_complete_stay_small(shared, tmp_path):
    generator = shared / "generators" / "mkdos.py"
    subprocess.run([sys.executable, str(generator), str(tmp_path), "frags_100k"], check=True, capture_output=True)
    decoder = Decoder(DecodeLimits(), EncapsulationTable())
    for batch in open_captures([str(tmp_path / "frags_100k.pcap")]):
        decoder.feed(batch)
        held = decoder.account.skipped["fragment-held"]
        assert held <= DecodeLimits().fragment_datagrams
    decoder.finish()
    check_account(decoder.account)
    assert decoder.account.skipped == {"fragment-evicted": 100_000 - held, "fragment-incomplete": held}

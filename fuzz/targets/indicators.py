"""Indicator files: only RuleError, and whatever loads can be asked."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from imapids.errors import RuleError
from imapids.intel import Matcher, load_indicators

DICTIONARY = (
    b"hxxp://",
    b"[.]",
    b"::ffff:1.2.3.4",
    b"/33",
    b"[ipv4-addr:value = '",
    b"' OR ",
    b"valid_until",
    b"9" * 40,
    b"\xef\xbb\xbf",
    b"\x1f\x8b",
    b"{",
    b"[",
    b'"Attribute"',
    b"warninglist",
)


def seeds() -> list[bytes]:
    """One file of each form."""
    pattern = "[ipv4-addr:value = '198.51.100.7'] OR [domain-name:value = 'bad.example']"
    stix = {
        "type": "bundle",
        "id": "bundle--1",
        "objects": [
            {
                "type": "indicator",
                "id": "indicator--1",
                "pattern_type": "stix",
                "pattern": pattern,
                "valid_from": "2026-01-01T00:00:00Z",
                "valid_until": "2027-01-01T00:00:00Z",
            }
        ],
    }
    misp = {
        "Event": {
            "info": "x",
            "uuid": "1",
            "Attribute": [
                {"type": "ip-dst|port", "value": "198.51.100.7|143", "to_ids": True, "timestamp": "1767225600"}
            ],
        }
    }
    benign = {"name": "w", "type": "cidr", "matching_attributes": ["ip-dst"], "list": ["192.0.2.0/24", "2001:db8::/32"]}
    return [json.dumps(each).encode() for each in (stix, misp, benign)] + [
        b'# first_seen,dst_ip,dst_port,malware\n"2026-01-01 00:00:00","198.51.100.7","143","X"\n',
        b"198.51.100.7 # here\nhxxp://bad[.]example/x\n2001:db8::/32\n" + b"a" * 32 + b"\n",
    ]


def check(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzzed"
        path.write_bytes(data)
        try:
            loaded = load_indicators([path])
        except RuleError:
            return
    Matcher(loaded)

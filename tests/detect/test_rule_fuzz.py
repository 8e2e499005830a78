"""Whatever stands in a rule file: faults with places, never an exception, and what compiles can be evaluated."""

from __future__ import annotations

from typing import Any

import msgspec
from helpers.rules import event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imapids.config import DetectLimits
from imapids.detect import Detector, RuleSet
from imapids.detect.loading import compile_with_faults, is_sound
from imapids.detect.rule_files import RuleFile

GOOD = {
    "title": "x", "id": "0f2b6a52-2f0b-4b7e-9f64-000000000001", "name": "base", "status": "test", "level": "high",
    "tags": ["attack.t1571"], "date": "2026-01-01", "references": ["https://example.org"], "falsepositives": ["none"],
    "logsource": {"product": "imapids", "category": "session"},
    "detection": {"selection": {"session.verdict|contains": ["a", "b"], "session.packets|gte": 3,
                                "src_ip|cidr": "::/0"},
                  "other": ["keyword"], "condition": "selection and not 1 of oth*"},
    "imapids": {"sid": 1000001, "subject": "case", "samples": {"fires": "a"}},
}
SEVERAL = {
    "title": "y", "name": "several", "level": "low",
    "correlation": {"type": "value_count", "rules": ["base"], "group-by": ["src_ip"], "timespan": "5m",
                    "aliases": {"who": {"base": "dest_ip"}}, "condition": {"gte": 3, "field": "dest_ip"}},
}
FILTER = {
    "title": "z", "logsource": {"product": "imapids", "category": "session"},
    "filter": {"rules": ["base"], "selection": {"src_ip": "10.0.0.5"}, "condition": "not selection"},
    "imapids": {"expires": "2026-05-01"},
}
_odd = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**20), st.floats(allow_nan=True), st.text(max_size=12),
    st.sampled_from(["base", "several", "any", "selection", "not selection", "selection |", "1 of them", "all of x*",
                     "(", "*", "\\", "%x%", "10.0.0.0/99", "value_sum", "temporal_ordered", "base and not several",
                     "1y", "0s", "(a+)+", "2026-13-45", "session.verdict", "dest_ip"]),
    st.lists(st.sampled_from(["base", "several", "src_ip", "", None, 3]), max_size=3),
    st.dictionaries(st.sampled_from(["gte", "lt", "field", "session.verdict|re", "|all", "session.packets|hour",
                                     "x|y|z", "src_ip|cidr|exists", "session.verdict|fieldref|endswith", "percentile"]),
                    st.one_of(st.text(max_size=5), st.integers(0, 9), st.none(),
                              st.lists(st.text(max_size=3), max_size=2)),
                    max_size=2),
)


@st.composite
def spoilt(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The three good documents with one to three values or keys changed somewhere."""
    documents = msgspec.json.decode(msgspec.json.encode([GOOD, SEVERAL, FILTER]))
    for _ in range(draw(st.integers(1, 3))):
        at: Any = documents[draw(st.integers(0, 2))]
        while True:
            key = draw(st.sampled_from(sorted(at))) if isinstance(at, dict) else draw(st.integers(0, len(at) - 1))
            inner = at[key]
            if not (isinstance(inner, (dict, list)) and inner and draw(st.booleans())):
                break
            at = inner
        if isinstance(at, dict) and draw(st.booleans()):
            at[draw(st.text(max_size=8))] = at.pop(key)
        else:
            at[key] = draw(_odd)
        if not all(documents):
            break
    return documents


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spoilt())
def test_spoilt_rules_give_faults_or_work(documents: list[dict[str, Any]]) -> None:
    data = b"---\n".join(msgspec.json.encode(document) + b"\n" for document in documents)
    rules, faults = compile_with_faults([RuleFile("r.yml", data)])
    for fault in faults:
        assert fault.line >= 0
        assert str(fault).isprintable(), repr(str(fault))
    if not faults:
        again = msgspec.json.decode(msgspec.json.encode(rules), type=RuleSet)
        assert is_sound(again)
        detector = Detector(again, limits=DetectLimits(group_entries=4, groups=2))
        detector.feed([event("session", place % 7, verdict="abc") for place in range(9)])
        detector.finish(0)

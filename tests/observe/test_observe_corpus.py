"""The labelled captures: an attack, a beacon or a dead drop raises its rule, and genuine use none that is high."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import pytest
from helpers.analysis import Run, analyze_all

GUESSING = {"password_guessing", "password_spraying", "credential_stuffing", "success_after_failures", "guessing_tool",
            "many_short_encrypted_sessions", "many_users_fail", "failed_logins_flood"}
BEACONS = {"regular_calls", "regular_beats", "reconnecting_beacon"}
DEAD_DROPS = {"dead_drop_polling", "dead_drop_exchange", "dead_drop_rounds", "dead_drop_handover",
              "rapid_encrypted_polling"}
EXPECTED = {"imap-attack:brute": GUESSING, "imap-attack:brute-starttls": GUESSING, "imap-attack:spray": GUESSING,
            "imap-abuse:deaddrop": DEAD_DROPS, "non-imap:beacon-": BEACONS, "non-imap:irc-bot": BEACONS}
"""What must fire, by the beginning of the label."""


@cache
def labels(folder: Path) -> dict[str, str]:
    """The first label of each whole capture."""
    found: dict[str, str] = {}
    with (folder / "labels.tsv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            found.setdefault(row["pcap"], row["note"])
    return found


def analysed(path: Path) -> Run:
    return analyze_all(path, events={"alert"})


def test_what_is_labelled_raises_its_rule(shared: Path) -> None:
    folder, missing, tried = shared / "corpus" / "own", [], 0
    for name, note in sorted(labels(folder).items()):
        wanted = next((rules for label, rules in EXPECTED.items() if note.startswith(label)), None)
        if wanted is None or name.startswith("cut_"):
            continue
        tried += 1
        if not wanted & set(analysed(folder / name).rules):
            missing.append(f"{name} ({note.partition(';')[0]})")
    assert tried > 20
    assert missing == []


@pytest.mark.slow
def test_genuine_use_raises_nothing_high(shared: Path) -> None:
    folder, accused, tried = shared / "corpus" / "own", [], 0
    for name in sorted(labels(folder)):
        if name.startswith(("imap_", "imapb_", "imapg_", "imapt_")):
            tried += 1
            high = {alert.rule.name for alert in analysed(folder / name).alerts
                    if alert.rule.level in ("high", "critical")}
            if high:
                accused.append(f"{name}: {sorted(high)}")
    assert tried > 200
    assert accused == []

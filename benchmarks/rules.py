"""How long 500 rules take over 100,000 events: made rules over made commands, of which no two are alike.

    python benchmarks/rules.py [--rules 500] [--events 100000] [--runs 3]
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
import uuid
from typing import Any

from imapids.detect import Detector
from imapids.detect.compiled import RuleSet
from imapids.detect.rule_files import Document, Fault
from imapids.detect.sigma_rules import compile_documents
from imapids.records.events import Command, Event
from imapids.records.streams import Flow

NAMES = ("LOGIN", "SELECT", "FETCH", "NOOP", "LOGOUT", "CAPABILITY", "SEARCH", "APPEND", "STORE", "EXPUNGE", "LIST",
         "STATUS")
DIRECTIONS = ("inbound", "outbound", "internal")
START_NS = 1_767_355_200 * 10**9
BATCH = 1_000


def make_words(dice: random.Random) -> list[str]:
    """Words that both rules and events are made of."""
    return ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(3, 9))) for _ in range(3_000)]


def a_rule(dice: random.Random, words: list[str]) -> dict[str, Any]:
    """A rule on commands: names, parts of arguments, numbers, now and then a regular expression or an exception."""
    asked: dict[str, Any] = {}
    if dice.random() < 0.7:
        asked["command.name"] = dice.sample(NAMES, dice.randint(1, 3))
    match dice.randrange(5):
        case 0:
            asked["command.arguments|contains"] = dice.sample(words, dice.randint(1, 5))
        case 1:
            asked["command.arguments|startswith"] = dice.choice(words)
        case 2:
            asked["command.longest_argument|gte"] = dice.randint(200, 400)
        case 3 if dice.random() < 0.3:
            asked["command.arguments|re"] = f"^{dice.choice(words)}[0-9]+$"
        case 4:
            asked["command.tag"] = dice.choice(words)
            asked["command.arguments|contains"] = dice.choice(words)
    if set(asked) <= {"command.name"}:
        asked["command.code"] = "AUTH"
    detection: dict[str, Any] = {"selection": asked, "condition": "selection"}
    if dice.random() < 0.4:
        detection["other"] = {"command.result": dice.choice(("ok", "no", "bad")),
                              "command.direction": dice.choice(DIRECTIONS)}
        detection["condition"] = dice.choice(("selection and other", "selection and not other"))
    return {"title": "made", "id": str(uuid.UUID(int=dice.getrandbits(128))), "level": "medium",
            "logsource": {"product": "imapids", "category": "command"}, "detection": detection}


def make_rules(dice: random.Random, words: list[str], count: int) -> RuleSet:
    """A compiled rule set."""
    faults: list[Fault] = []
    documents = [Document(f"made{place}.yml", a_rule(dice, words), {(): 1}) for place in range(count)]
    rules = compile_documents(documents, faults)
    if faults:
        raise SystemExit("\n".join(map(str, faults)))
    return rules


def make_events(dice: random.Random, words: list[str], count: int) -> list[Event]:
    """Commands of a thousand clients; each has a tag and arguments of its own."""
    flows = [Flow(protocol="TCP", client=f"10.0.{place // 100}.{place % 100}", client_port=40_000, flow_id=place,
                  server="198.51.100.7", server_port=143, direction="outbound") for place in range(1_000)]
    return [
        Event("command", START_NS + place * 10**7, Command(
            tag=f"a{place}", name=dice.choice(NAMES), arguments=" ".join(dice.sample(words, 2)),
            longest_argument=dice.randint(0, 300), result=dice.choice(("ok", "ok", "no", "bad", "none")),
            direction=dice.choice(DIRECTIONS)), dice.choice(flows), place + 1)
        for place in range(count)
    ]


def main() -> None:
    """Prints CPU seconds of each run and their median."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rules", type=int, default=500)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    dice = random.Random(143)
    words = make_words(dice)
    rules = make_rules(dice, words, options.rules)
    events = make_events(dice, words, options.events)
    seconds = []
    for _ in range(options.runs):
        detector = Detector(rules)
        start = time.process_time()
        lines = sum(len(detector.feed(events[at : at + BATCH])) for at in range(0, len(events), BATCH))
        lines += len(detector.finish(events[-1].time_ns))
        seconds.append(time.process_time() - start)
        print(f"{options.rules} rules over {options.events:,} events: {seconds[-1]:.2f} s CPU, {lines:,} alert lines",
              flush=True)
    print(f"median {statistics.median(seconds):.2f} s")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Write the sample captures and their MANIFEST.toml (development only: needs scapy).

usage: generate.py [--check] [--record] [--to FOLDER]

--check    compare with the committed files instead of writing; exit 1 where one differs
--record   make the TLS and deflate recordings anew first (needs the openssl command)
--to       write elsewhere
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from making import attacks, exposed, genuine, impostors, office, overtime, recordings  # noqa: E402, F401  # they fill the catalogue
from making.catalogue import SAMPLES, Sample  # noqa: E402
from making.network import Trace  # noqa: E402

MANIFEST_HEAD = """\
# The sample captures: what each shows and what must come out. Written by generate.py; do not edit by hand.
# verdicts: sessions by verdict (`a|b`: either will do); alerts: families of rules/sigma that must fire.
"""


def entry(sample: Sample, capture: bytes, packets: int) -> str:
    """One table of the manifest. JSON strings and arrays of ASCII text are TOML, too."""
    verdicts = ", ".join(f"{json.dumps(name)} = {count}" for name, count in sample.verdicts.items())
    return f"""
[[sample]]
name = {json.dumps(sample.name)}
file = {json.dumps(sample.name + ".pcap")}
sha256 = {json.dumps(hashlib.sha256(capture).hexdigest())}
packets = {packets}
shows = {json.dumps(sample.shows)}
verdicts = {{ {verdicts} }}
protocol = {json.dumps(sample.protocol)}
shape = {json.dumps(sample.shape)}
alerts = {json.dumps(list(sample.alerts))}
"""


def generate() -> dict[str, bytes]:
    """Every file by name: the captures and the manifest."""
    files: dict[str, bytes] = {}
    manifest = [MANIFEST_HEAD]
    for name, sample in sorted(SAMPLES.items()):
        trace = Trace(name)
        sample.make(trace)
        files[f"{name}.pcap"] = trace.pcap()
        if sample.inventory:
            files[f"{name}.inventory.yml"] = sample.inventory.encode()
        manifest.append(entry(sample, files[f"{name}.pcap"], len(trace.frames)))
    files["MANIFEST.toml"] = "".join(manifest).encode()
    return files


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed files")
    parser.add_argument("--record", action="store_true", help="make the TLS and deflate recordings anew")
    parser.add_argument("--to", type=Path, default=HERE, metavar="FOLDER", help="write elsewhere")
    options = parser.parse_args()
    if options.record:
        recordings.record_all()
    files = generate()
    present = {path.name for end in ("*.pcap", "*.inventory.yml") for path in options.to.glob(end)}
    stale = sorted(present - files.keys())
    if options.check:
        differing = [
            name
            for name, data in files.items()
            if not (options.to / name).is_file() or (options.to / name).read_bytes() != data
        ]
        for name in [*differing, *stale]:
            print(f"{name}: differs from what generate.py makes")
        return int(bool(differing or stale))
    options.to.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (options.to / name).write_bytes(data)
    for name in stale:
        print(f"{name}: no sample of this name any more; remove it")
    print(f"{len(SAMPLES)} captures, {sum(map(len, files.values())):,} bytes, in {options.to}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

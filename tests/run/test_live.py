"""`imapids live` between two network namespaces: what it sees, what it tells, what it survives."""

from __future__ import annotations

import collections
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.frames import ethernet, ip4, tcp, vlan
from helpers.wire import ROOT, Live, Wire, a_folder, a_wire, joined_pcap, run

SAMPLES = ROOT / "sample_pcaps"
MANY = ("office-day", "scan", "password-guessing", "password-spraying", "reverse-shell", "binary-beacon",
        "fake-greeting", "tls-direct", "imap-on-other-port", "genuine-ipv6", "udp-143", "starttls")
ALL = ("--events", "all", "--stats-interval", "1s")


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with a_wire() as laid:
        yield laid


@pytest.fixture
def folder() -> Iterator[Path]:
    with a_folder() as path:
        yield path


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    path = tmp_path_factory.mktemp("captures") / "many.pcap"
    return path, joined_pcap(path, [SAMPLES / f"{name}.pcap" for name in MANY])


def pcap_of(path: Path, frames: list[bytes]) -> Path:
    records = b"".join(struct.pack("<IIII", 1_700_000_000, number, len(frame), len(frame)) + frame
                       for number, frame in enumerate(frames))
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1) + records)
    return path


def stats_of(live: Live, name: str | None = None) -> list[dict[str, Any]]:
    return [line["stats"] for line in live.lines(name) if line["event_type"] == "stats"]


def read_packets(live: Live, name: str | None = None) -> int:
    told = stats_of(live, name)
    return told[-1]["packets"] if told else 0


def told(lines: list[dict[str, Any]]) -> dict[str, collections.Counter[tuple[Any, ...]]]:
    """Sessions and alerts of a run, in a form that can be compared."""
    found: dict[str, collections.Counter[tuple[Any, ...]]] = {
        kind: collections.Counter() for kind in ("session", "alert")}
    for line in lines:
        if line["event_type"] == "session":
            body = line["session"]
            found["session"][line["flow_id"], body["verdict"], body["protocol"], body["shape"], body["packets"]] += 1
        elif line["event_type"] == "alert":
            alert = line["alert"]
            ours = alert["context"]["imapids"]
            found["alert"][alert["signature_id"], ours["subject"], ours["id"], ours["state"], ours["count"]] += 1
    return found


def test_every_packet_is_received_or_counted_as_dropped(wire: Wire, folder: Path, capture: tuple[Path, int]) -> None:
    path, count = capture
    with wire.live(folder, "--format", "jsonl", *ALL) as live:
        assert wire.send(path) == count
        assert wire.send(path) == count
        code, seconds = live.stop()
        assert (code, live.said().count(b"Traceback")) == (0, 0)
        assert seconds < 2
        last = stats_of(live)[-1]
        assert last["capture"]["kernel_packets"] == 2 * count
        assert last["packets"] + last["capture"]["kernel_drops"] == 2 * count
        (account,) = [line["capture"] for line in live.lines() if line["event_type"] == "capture"]
        assert account["packets"] == account["processed"] + sum(account["skipped"].values()) == last["packets"]


@pytest.mark.oracle
@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs tcpdump, to record what live sees")
@pytest.mark.parametrize("workers", [
    pytest.param("1", id="one process"),
    pytest.param("2", id="two workers"),
    pytest.param("4", id="four workers", marks=pytest.mark.slow),
])
def test_live_tells_what_analyze_tells_of_the_same_packets(
    wire: Wire, folder: Path, capture: tuple[Path, int], workers: str,
) -> None:
    recorded = folder / "recorded.pcap"
    command = wire.inside("tcpdump", "-i", wire.device, "-w", str(recorded), "-U", "--time-stamp-precision=nano",
                          "-s", "0", "-B", "32000", "-Z", "root")
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE) as recorder,
        wire.live(folder, "--format", "jsonl", *ALL, "--workers", workers) as live,
    ):
        assert recorder.stderr is not None
        assert any(b"listening" in line for line in iter(recorder.stderr.readline, b""))
        wire.send(capture[0], pps=2_000)
        live.wait_for(lambda: read_packets(live) == capture[1])
        # SIGINT ends tcpdump before it has written what the kernel still holds
        live.wait_for(lambda: recorded.stat().st_size == capture[0].stat().st_size)
        assert live.stop()[0] == 0
        recorder.send_signal(signal.SIGINT)
        recorder.wait(10)
        done = run(sys.executable, "-m", "imapids", "analyze", str(recorded), "--format", "jsonl", "--events", "all",
                   "-o", str(folder / "offline.jsonl"))
        assert done.returncode == 0, done.stderr
        offline, online = told(live.lines("offline.jsonl")), told(live.lines())
        assert online["session"] == offline["session"]
        assert online["alert"] == offline["alert"]
        assert len(online["session"]) > 50
        assert len(online["alert"]) > 20


def test_tags_that_the_kernel_took_off_are_part_of_the_flow(wire: Wire, folder: Path) -> None:
    frame = ethernet(vlan(77) + ip4(tcp(flags=2)), 0x8100)
    with wire.live(folder, "--format", "jsonl", *ALL) as live:
        wire.send(pcap_of(folder / "tagged.pcap", [frame]))
        live.stop()
        (session,) = [line for line in live.lines() if line["event_type"] == "session"]
        assert session["vlan"] == [77]


@pytest.mark.parametrize(("expression", "wanted"), [
    pytest.param("watched", 2, id="the built-in program"),
    pytest.param("tcp port 143", 2, id="an expression that sees no tag", marks=[pytest.mark.slow, pytest.mark.skipif(
        shutil.which("tcpdump") is None, reason="needs tcpdump")]),
    pytest.param("vlan 5", 1, id="a tag that the kernel took off", marks=pytest.mark.skipif(
        shutil.which("tcpdump") is None, reason="needs tcpdump")),
])
def test_the_kernel_keeps_other_packets_away(wire: Wire, folder: Path, expression: str, wanted: int) -> None:
    frames = [ethernet(ip4(tcp())), ethernet(ip4(tcp(dport=80))), ethernet(vlan(5) + ip4(tcp()), 0x8100)]
    with wire.live(folder, "--format", "jsonl", *ALL, "--filter", expression) as live:
        wire.send(pcap_of(folder / "some.pcap", frames))
        live.stop()
        assert stats_of(live)[-1]["capture"]["kernel_packets"] == wanted
        assert stats_of(live)[-1]["packets"] == wanted


@pytest.mark.slow
def test_scapy_reads_where_there_is_no_ring(wire: Wire, folder: Path, capture: tuple[Path, int]) -> None:
    with wire.live(folder, "--format", "jsonl", *ALL, "--source", "scapy") as live:
        assert b"some thousand packets a second" in live.said()
        wire.send(SAMPLES / "reverse-shell.pcap", pps=200)
        live.wait_for(lambda: read_packets(live) == 21)
        assert live.stop()[0] == 0
        (session,) = [line["session"] for line in live.lines() if line["event_type"] == "session"]
        assert (session["verdict"], session["shape"]) == ("not-imap", "interactive-shell")


# ---- rights ---------------------------------------------------------------------------------------------------------

_SPY = """
import os, socket, sys
import imapids.run.watch as watch
from imapids.__main__ import main

def spied():
    before = set(sys.modules)
    real()
    for name, attempt in {
        "raw socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0), "fork": os.fork,
        "file elsewhere": lambda: open(OTHER, "w"), "root's file": lambda: open("/etc/shadow"),
        "connection": lambda: socket.create_connection(("127.0.0.1", 9)),
    }.items():
        try:
            attempt()
        except OSError as error:
            print("refused", name, type(error).__name__, file=sys.stderr, flush=True)
        else:
            print("allowed", name, file=sys.stderr, flush=True)
    class Late:
        def find_spec(self, name, path=None, target=None):
            print("late import", name, file=sys.stderr, flush=True)
    sys.meta_path.insert(0, Late())

dropping = watch.privileges.drop

def told(rights):
    dropped = dropping(rights)
    if dropped.landlock:
        print("landlock", dropped.landlock, file=sys.stderr, flush=True)
    return dropped

watch.privileges.drop = told
real = watch.privileges.forbid_new_processes
watch.privileges.forbid_new_processes = spied
sys.exit(main())
"""


def test_no_right_is_left_when_packets_are_read(wire: Wire, folder: Path, capture: tuple[Path, int]) -> None:
    with (
        a_folder() as elsewhere,
        wire.live(folder, *ALL, "-o", str(folder / "eve.json"),
                  code=_SPY.replace("OTHER", repr(str(elsewhere / "file")))) as live,
    ):
        assert {live.status(key) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert live.status("NoNewPrivs") == "1"
        assert "0" not in live.status("Uid").split()
        assert live.status("Groups") == ""
        wire.send(capture[0])
        live.wait_for(lambda: read_packets(live, "eve.json") == capture[1])
        live.send_signal(signal.SIGHUP)
        live.wait_for(lambda: b"read again" in live.said() or b"are wrong" in live.said())
        assert live.stop()[0] == 0
        said = live.said().decode()
        assert set(re.findall(r"(?:refused|allowed) .*", said)) >= {
            "refused raw socket PermissionError", "refused fork BlockingIOError", "refused root's file PermissionError"}
        if "landlock" in said:
            assert "refused file elsewhere PermissionError" in said
            assert "refused connection PermissionError" in said
        assert re.findall(r"late import .*", said) == []


@pytest.mark.parametrize(("options", "code", "message"), [
    pytest.param(["--user", "root"], 2, "not parsed as root", id="root", marks=pytest.mark.slow),
    pytest.param(["--user", "nobody-such"], 2, "no such user", id="a user that does not exist", marks=pytest.mark.slow),
    pytest.param(["--filter", "tcp prot 143"], 2, "--filter", id="a filter that is none", marks=pytest.mark.skipif(
        shutil.which("tcpdump") is None, reason="needs tcpdump")),
    pytest.param(["--rotate", "1M"], 2, "needs a file", id="rotation of standard output", marks=pytest.mark.slow),
    pytest.param(["--rotate", "soon"], 2, "no size", id="a rotation that is none", marks=pytest.mark.slow),
    pytest.param(["-o", "tcp://nowhere"], 2, "HOST:PORT", id="an address that is none", marks=pytest.mark.slow),
    pytest.param(["-o", "/nonexistent/eve.json"], 3, "cannot write", id="a folder that does not exist"),
    pytest.param(["--rules", "/nonexistent.yml"], 5, "wrong rules", id="a rule file that does not exist"),
])
def test_what_is_wrong_is_told_before_a_packet_is_read(
    wire: Wire, folder: Path, options: list[str], code: int, message: str,
) -> None:
    with wire.live(folder, *options, ready=False) as live:
        assert live.process.wait(30) == code
        assert message in live.said().decode()
        assert b"Traceback" not in live.said()


def test_an_interface_that_does_not_exist_is_named_beside_those_that_do(wire: Wire, folder: Path) -> None:
    with wire.live(folder, ready=False, device="eth77") as live:
        assert live.process.wait(30) == 3
        assert re.search(r"eth77: no such interface; there are: lo, wire1", live.said().decode())


# ---- signals and reloading ------------------------------------------------------------------------------------------


def stop_at_a_random_moment(wire: Wire, folder: Path, capture: Path, seed: int) -> None:
    chance = random.Random(seed)
    with (
        wire.sending(capture, times=100),
        wire.live(folder, *ALL, "-o", str(folder / "eve.json"), ready=chance.random() < 0.7) as live,
    ):
        time.sleep(chance.uniform(0, 1.5))
        number = chance.choice([signal.SIGTERM, signal.SIGINT])
        code, seconds = live.stop(number)
        said = live.said().decode()
        started = b" is watched " in live.said()
        early = not started and number == signal.SIGINT  # the interpreter itself may still have been starting
        ours = re.search(r'__main__\.py", line \d+, in main\n', said)  # Python's own start has a `main`, too
        assert "Traceback" not in said or (early and ours is None), said  # the package was being imported
        assert seconds < 2 or not started
        assert code in ((0, 4) if started else (0, 1, 4, 130, -number) if early else (-number,)), said
        if started:
            (account,) = [line["capture"] for line in live.lines("eve.json") if line["event_type"] == "capture"]
            assert account["packets"] == stats_of(live, "eve.json")[-1]["packets"]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_signal_at_any_moment_ends_it_with_everything_told(
    wire: Wire, folder: Path, capture: tuple[Path, int], seed: int,
) -> None:
    stop_at_a_random_moment(wire, folder, capture[0], seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 300))
def test_two_hundred_signals_at_random_moments(
    wire: Wire, folder: Path, capture: tuple[Path, int], seed: int,
) -> None:
    stop_at_a_random_moment(wire, folder, capture[0], seed)


RULE = """
title: A login of anybody
id: 3b1c7a34-52fd-4c8a-9f6a-1d2a6f0f7a11
status: test
description: For the test of reloading.
level: high
logsource: {product: imapids, category: login}
detection: {selection: {login.user|contains: ''}, condition: selection}
imapids: {sid: 1900001}
"""


def test_rules_are_read_again_and_wrong_ones_change_nothing(wire: Wire, folder: Path) -> None:
    rules = folder / "rules"
    rules.mkdir()
    rules.chmod(0o755)
    rule = rules / "one.yml"
    rule.write_text(RULE)
    half = folder / "half.pcap"
    whole = (SAMPLES / "cleartext-login.pcap").read_bytes()
    cut, at = 0, 24
    while cut < 6:
        at += 16 + struct.unpack_from("<I", whole, at + 8)[0]
        cut += 1
    half.write_bytes(whole[:at])
    rest = folder / "rest.pcap"
    rest.write_bytes(whole[:24] + whole[at:])
    with wire.live(folder, "--rules", str(rules), *ALL, "-o", str(folder / "eve.json")) as live:
        wire.send(half)
        live.wait_for(lambda: read_packets(live, "eve.json") == cut)
        rule.write_text(RULE.replace("condition: selection", "condition: nothing"))
        live.send_signal(signal.SIGHUP)
        live.wait_for(lambda: b"former ones stay" in live.said())
        live.wait_for(lambda: stats_of(live, "eve.json")[-1].get("reloads_failed") == 1)
        rule.write_text(RULE.replace("anybody", "somebody"))
        (rules / "lists").mkdir()
        scanners = rules / "lists" / "research-scanners.csv"
        scanners.write_text("no network, A search engine\n")
        live.send_signal(signal.SIGHUP)
        live.wait_for(lambda: stats_of(live, "eve.json")[-1].get("reloads_failed") == 2)
        scanners.write_text("203.0.113.128/25, A search engine\n")
        live.send_signal(signal.SIGHUP)
        live.wait_for(lambda: b"read again" in live.said())
        wire.send(rest)
        wire.send(SAMPLES / "research-scanner.pcap")
        assert live.stop()[0] == 0
        lines = live.lines("eve.json")
        (session,) = [line for line in lines if line["event_type"] == "session" and line["dest_ip"] == "203.0.113.25"]
        assert (session["session"]["verdict"], session["session"]["midstream"]) == ("genuine", False)
        names = {line["alert"]["signature"] for line in lines if line["event_type"] == "alert"}
        assert "A login of somebody" in names
        assert "A login of anybody" not in names
        assert "A search engine" in {line["scan"].get("scanner") for line in lines if line["event_type"] == "scan"}


def sheet_of(lines: list[dict[str, Any]]) -> dict[tuple[str, int], tuple[Any, ...]]:
    """The last line of each server and port; in which order networks came depends on when conversations were over."""
    return {(line["dest_ip"], line["dest_port"]): (
                *(line["exposure"].get(name) for name in (
                    "state", "open_to", "service", "unexpected", "inventory", "connections", "clients_lan")),
                sorted(line["exposure"].get("networks", ())))
            for line in lines if line["event_type"] == "exposure"}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_inventory_is_held_against_an_interface_as_against_a_capture(
    wire: Wire, folder: Path, workers: str,
) -> None:
    inventory = folder / "inventory.yml"
    inventory.write_bytes((SAMPLES / "unexpected-server.inventory.yml").read_bytes())
    capture = SAMPLES / "unexpected-server.pcap"
    done = run(sys.executable, "-m", "imapids", "analyze", str(capture), "--format", "jsonl", "--events", "all",
               "--inventory", str(inventory), "-o", str(folder / "offline.jsonl"))
    assert done.returncode == 0, done.stderr
    with wire.live(folder, "--inventory", str(inventory), *ALL, "--workers", workers, "-o",
                   str(folder / "eve.json")) as live:
        wire.send(capture)
        live.wait_for(lambda: "exposure" in {line["event_type"] for line in live.lines("eve.json")})
        inventory.write_text("services: nothing")
        live.send_signal(signal.SIGHUP)
        live.wait_for(lambda: b"former ones stay" in live.said())
        assert live.stop()[0] == 0
        offline, online = live.lines("offline.jsonl"), live.lines("eve.json")
    assert sheet_of(online) == sheet_of(offline)
    assert any(facts[3] == ["service"] for facts in sheet_of(online).values())
    names = [{line["alert"]["signature"] for line in lines if line["event_type"] == "alert"}
             for lines in (offline, online)]
    assert names[0] == names[1]


# ---- the link -------------------------------------------------------------------------------------------------------


def link_of(live: Live) -> str:
    told = stats_of(live, "eve.json")
    return told[-1]["link"] if told else ""


def test_it_goes_on_when_the_interface_was_down_and_when_it_was_removed(
    folder: Path, capture: tuple[Path, int],
) -> None:
    with a_wire() as wire, wire.live(folder, *ALL, "-o", str(folder / "eve.json")) as live:
        wire.send(capture[0])
        live.wait_for(lambda: read_packets(live, "eve.json") == capture[1])
        run("ip", "-n", wire.far, "link", "set", wire.device, "down")
        live.wait_for(lambda: link_of(live) == "down")
        run("ip", "-n", wire.far, "link", "set", wire.device, "up")
        live.wait_for(lambda: link_of(live) == "up")
        wire.send(capture[0])
        live.wait_for(lambda: read_packets(live, "eve.json") == 2 * capture[1])
        wire.unplug()
        live.wait_for(lambda: link_of(live) == "removed")
        wire.plug()
        live.wait_for(lambda: link_of(live) == "up")
        wire.send(capture[0])
        live.wait_for(lambda: read_packets(live, "eve.json") == 3 * capture[1])
        assert live.stop()[0] == 0
        assert b"Traceback" not in live.said()
        assert stats_of(live, "eve.json")[-1]["notes"]["interface-returned"] == 1


@pytest.mark.parametrize("workers", [pytest.param("1", id="one process"),
                                     pytest.param("2", id="two workers", marks=pytest.mark.slow)])
def test_the_packets_of_an_alert_are_kept_for_extract(
    wire: Wire, folder: Path, capture: tuple[Path, int], workers: str,
) -> None:
    with wire.live(folder, *ALL, "-o", str(folder / "eve.json"), "--keep-packets", "32M", "--workers", workers) as live:
        wire.send(capture[0])
        live.wait_for(lambda: read_packets(live, "eve.json") == capture[1])
        assert live.stop()[0] == 0
        alert = next(line["alert"]["context"]["imapids"] for line in live.lines("eve.json")
                     if line["event_type"] == "alert" and "shell" in line["alert"]["signature"])
        out = folder / "shell.pcap"
        done = run(sys.executable, "-m", "imapids", "extract", str(folder / "eve.json.packets"), "--alert", alert["id"],
                   "-o", str(out), check=False)
        assert done.returncode == 0, done.stderr
        assert b"whoami" in out.read_bytes()


# ---- the output -----------------------------------------------------------------------------------------------------


def test_a_full_disk_loses_lines_that_are_counted_and_nothing_else(
    wire: Wire, folder: Path, capture: tuple[Path, int],
) -> None:
    small = folder / "small"
    small.mkdir()
    mounted = run("mount", "-t", "tmpfs", "-o", "size=64k,mode=777", "tmpfs", str(small), check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system: {mounted.stderr}")
    try:
        with wire.live(folder, *ALL, "-o", str(small / "eve.json")) as live:
            for _ in range(3):
                wire.send(capture[0])
            time.sleep(2)
            code, seconds = live.stop()
            assert (code, b"Traceback" in live.said()) == (4, False)
            assert seconds < 2
            dropped = int(re.search(r"([\d,]+) lines were dropped", live.said().decode())[1].replace(",", ""))
            assert dropped > 100
            data = (small / "eve.json").read_bytes()
            assert data.endswith(b"\n")
            assert len(data) > 32_000
    finally:
        run("umount", "-l", str(small), check=False)


def test_a_hundred_rotations_under_load_neither_lose_nor_double_a_line(
    wire: Wire, folder: Path, capture: tuple[Path, int],
) -> None:
    out = folder / "eve.json"
    with (
        wire.live(folder, *ALL, "-o", str(out)) as live,
        wire.sending(capture[0], pps=1_000, times=3) as sender,
    ):
        for number in range(100):
            if out.exists():
                out.rename(folder / f"eve.json.{number:03}")
            live.send_signal(signal.SIGHUP if number % 4 == 0 else 0)
            time.sleep(0.04)
        sender.wait(60)
        assert live.stop()[0] == 0
        written = [line for path in folder.glob("eve.json*") for line in path.read_bytes().splitlines(keepends=True)]
        assert all(line.startswith(b"{") and line.endswith(b"}\n") for line in written)
        (account,) = [line["capture"] for path in folder.glob("eve.json*") for line in live.lines(path.name)
                      if line["event_type"] == "capture"]
        assert len(written) == sum(account["events"].values()) + 1
        assert account["packets"] == 3 * capture[1]


def test_a_reader_that_does_not_read_stops_neither_packets_nor_the_end(
    wire: Wire, folder: Path, capture: tuple[Path, int],
) -> None:
    process = subprocess.Popen(
        wire.inside(sys.executable, "-m", "imapids", "live", wire.device, "--format", "jsonl", *ALL),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stderr is not None
        assert b" is watched " in process.stderr.readline()
        for _ in range(2):
            wire.send(capture[0])
        time.sleep(1)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 4
        assert time.monotonic() - begin < 2.5
        assert b"lines were dropped" in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.mark.slow
def test_a_reader_that_went_away_ends_it_quietly(wire: Wire, folder: Path, capture: tuple[Path, int]) -> None:
    process = subprocess.Popen(
        wire.inside(sys.executable, "-m", "imapids", "live", wire.device, "--format", "jsonl", *ALL),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stderr is not None
        assert process.stdout is not None
        assert b" is watched " in process.stderr.readline()
        process.stdout.close()
        wire.send(capture[0])
        process.wait(10)
        assert b"Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()

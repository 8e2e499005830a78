"""The display filter of an alert: Wireshark takes it, and it shows the packets that the alert is about."""

import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.analysis import analyze_all

import imapids as package
from imapids.protocols import display_filters
from imapids.records.streams import Flow

SAMPLES = Path(package.__file__).parent / "_samples"
FLOW = Flow(protocol="TCP", client="10.0.0.1", client_port=4000, server="2001:db8::2", server_port=143)


@pytest.mark.parametrize(("made", "expected"), [
    pytest.param(display_filters.of_flow(FLOW),
                 "ip.addr == 10.0.0.1 && ipv6.addr == 2001:db8::2 && tcp.port == 4000 && tcp.port == 143",
                 id="one conversation"),
    pytest.param(display_filters.of_pair(FLOW), "ip.addr == 10.0.0.1 && ipv6.addr == 2001:db8::2 && tcp.port == 143",
                 id="a pair of hosts"),
    pytest.param(display_filters.of_client(FLOW), "ip.addr == 10.0.0.1 && tcp.port == 143", id="a client"),
    pytest.param(display_filters.of_client(FLOW, any_port=True), "ip.addr == 10.0.0.1", id="a scanner"),
    pytest.param(display_filters.of_server(FLOW), "ipv6.addr == 2001:db8::2 && tcp.port == 143", id="a server"),
])
def test_filters_name_addresses_and_ports(made, expected):
    assert made == expected


@pytest.mark.parametrize("name", ["ssh-on-143", "password-guessing", "scan", "genuine-ipv6", "udp-143", "office-day"])
def test_every_alert_of_a_sample_has_one_that_tshark_takes(name):
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed")
    path = SAMPLES / f"{name}.pcap"
    for alert in {alert.display_filter: alert for alert in analyze_all(path).alerts}.values():
        assert alert.display_filter
        done = subprocess.run(
            [tshark, "-r", str(path), "-Y", alert.display_filter, "-T", "fields", "-e", "frame.number"],
            capture_output=True, text=True, check=True)
        assert str(alert.packet) in done.stdout.split()

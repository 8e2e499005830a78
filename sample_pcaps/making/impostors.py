"""What is not IMAP on port 143: other protocols, remote access trojans, tunnels, and imitations."""

from __future__ import annotations

import base64
import struct
import zlib

from making.catalogue import mail_server, provider, sample, stranger, workstation
from making.genuine import encrypted
from making.network import CLIENT, MILLISECOND, SECOND, SERVER, Tcp, Trace, at, datagram, outside, play


def ssh_string(data: bytes) -> bytes:
    """RFC 4251 section 5: a length and the bytes."""
    return struct.pack(">I", len(data)) + data


def ssh_packet(payload: bytes, block: int = 8) -> bytes:
    """RFC 4253 section 6: length, padding length, payload, padding to a multiple of the block."""
    padding = block - (len(payload) + 5) % block
    padding += block if padding < 4 else 0
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


def ssh_kexinit(trace: Trace) -> bytes:
    """RFC 4253 section 7.1."""
    lists = [
        "curve25519-sha256,ecdh-sha2-nistp256,diffie-hellman-group14-sha256",
        "ssh-ed25519,rsa-sha2-512",
        "chacha20-poly1305@openssh.com,aes128-ctr",
        "chacha20-poly1305@openssh.com,aes128-ctr",
        "hmac-sha2-256",
        "hmac-sha2-256",
        "none",
        "none",
        "",
        "",
    ]
    return ssh_packet(
        b"\x14" + trace.random.randbytes(16) + b"".join(ssh_string(names.encode()) for names in lists) + bytes(5)
    )


def ssh_key_exchange(tcp: Tcp, trace: Trace) -> None:
    """Curve25519 (RFC 8731) and NEWKEYS: the shape is right, the numbers are noise."""
    tcp.server(ssh_kexinit(trace)).client(ssh_kexinit(trace))
    tcp.client(ssh_packet(b"\x1e" + ssh_string(trace.random.randbytes(32))))
    key = ssh_string(ssh_string(b"ssh-ed25519") + ssh_string(trace.random.randbytes(32)))
    signature = ssh_string(ssh_string(b"ssh-ed25519") + ssh_string(trace.random.randbytes(64)))
    tcp.server(ssh_packet(b"\x1f" + key + ssh_string(trace.random.randbytes(32)) + signature) + ssh_packet(b"\x15"))
    tcp.client(ssh_packet(b"\x15"))


@sample(
    "ssh-on-143",
    "An SSH session to an outside server on port 143: a way around the firewall.",
    verdicts={"not-imap": 1},
    protocol="ssh",
    alerts=("verdict",),
)
def ssh_on_143(trace: Trace) -> None:
    tcp = Tcp(trace, workstation(50), outside("203.0.113.80"))
    tcp.server(b"SSH-2.0-OpenSSH_9.6\r\n").client(b"SSH-2.0-OpenSSH_for_Windows_9.5\r\n")
    ssh_key_exchange(tcp, trace)
    for size in (44, 68, 148, 36, 52, 84, 36, 36, 196, 36):
        tcp.client(trace.random.randbytes(size), 0.3).server(trace.random.randbytes(size + 32))
    tcp.close()


@sample(
    "http-beacon",
    "Every minute a POST in clear HTTP to a raw address on port 143; the answer is a 404 with a large body.",
    verdicts={"not-imap": 20},
    protocol="http",
    alerts=("verdict",),
)
def http_beacon(trace: Trace) -> None:
    client, server = workstation(51), outside("203.0.113.91")
    for beat in range(20):
        body = base64.b64encode(trace.random.randbytes(trace.random.randrange(300, 420)))
        answer = trace.random.randbytes(1_180 if beat else 9_400)
        tcp = Tcp(trace, client, server, start=60 * beat + trace.random.uniform(-2, 2) + 3)
        tcp.client(
            b"POST / HTTP/1.1\r\nUser-Agent: Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.1; Trident/7.0)\r\n"
            b"Host: 203.0.113.91:143\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: %d\r\nConnection: close\r\nCache-Control: no-cache\r\n\r\n" % len(body) + body
        )
        tcp.server(
            b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Type: text/html; charset=UTF-8\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(answer) + answer,
            0.06,
        )
        tcp.close(SERVER)


@sample(
    "binary-beacon",
    "A trojan's keep-alive: frames with a 32-bit little-endian length, every 20 seconds.",
    verdicts={"not-imap": 1},
    shape="length-prefixed-frames",
    alerts=("verdict", "c2"),
)
def binary_beacon(trace: Trace) -> None:
    def frame(kind: int, body: bytes) -> bytes:
        return struct.pack("<IB", len(body) + 1, kind) + body

    tcp = Tcp(trace, workstation(52), outside("203.0.113.92"))
    tcp.client(frame(0x30, trace.random.randbytes(91))).server(frame(0x31, trace.random.randbytes(40)))
    for beat in range(24):
        tcp.client(frame(0x02, b""), trace.random.uniform(19.6, 20.4)).server(frame(0x02, b""))
        if beat % 8 == 5:
            tcp.server(frame(0x40, trace.random.randbytes(24)), 3)
            tcp.client(frame(0x41, trace.random.randbytes(700)), 0.2)
    tcp.reset(CLIENT)


@sample(
    "fake-greeting",
    "It greets like IMAP and then speaks binary frames: this fools tools that look at the greeting only.",
    verdicts={"mimic": 1},
    protocol="",
    alerts=("verdict",),
)
def fake_greeting(trace: Trace) -> None:
    tcp = Tcp(trace, workstation(53), outside("203.0.113.93"))
    tcp.server(b"* OK IMAP4rev1 Service Ready\r\n")
    tcp.client(b"\x91\xe4\x00\x18" + trace.random.randbytes(24), 0.4)
    for _ in range(12):
        size = trace.random.randrange(40, 900)
        tcp.server(b"\x91\xe4" + struct.pack(">H", size) + trace.random.randbytes(size), 0.1)
        tcp.client(b"\x91\xe4\x00\x08" + trace.random.randbytes(8), 4.0)
    tcp.close()


@sample(
    "tls-direct",
    "TLS from the first byte on port 143, without a server name, with a self-signed certificate.",
    verdicts={"not-imap": 1},
    protocol="tls",
    alerts=("verdict",),
)
def tls_direct(trace: Trace) -> None:
    encrypted(Tcp(trace, workstation(54), outside("203.0.113.94")), "tls-without-sni", 5.0).reset(CLIENT)


@sample(
    "fake-tls",
    "TLS application-data records from the first byte, and never a handshake.",
    verdicts={"not-imap": 1},
    shape="fake-tls",
    alerts=("verdict",),
)
def fake_tls(trace: Trace) -> None:
    tcp = Tcp(trace, workstation(55), outside("203.0.113.95"))
    for size in (96, 260, 64, 64, 1_100, 64):
        tcp.client(b"\x17\x03\x03" + struct.pack(">H", size) + trace.random.randbytes(size), 6.0)
        tcp.server(b"\x17\x03\x03" + struct.pack(">H", 48) + trace.random.randbytes(48))
    tcp.close()


@sample(
    "reverse-shell",
    "cmd.exe of a workstation, served to somebody outside over port 143.",
    verdicts={"not-imap": 1},
    shape="interactive-shell",
    alerts=("verdict", "c2"),
)
def reverse_shell(trace: Trace) -> None:
    prompt = b"\r\n\r\nC:\\Users\\jonas\\Downloads>"
    tcp = Tcp(trace, workstation(56), outside("203.0.113.96"))
    tcp.client(
        b"Microsoft Windows [Version 10.0.19045.5131]\r\n(c) Microsoft Corporation. All rights reserved." + prompt
    )
    for command, output in (
        (b"whoami", b"example\\jonas"),
        (
            b"ipconfig",
            (
                b"\r\nWindows IP Configuration\r\n\r\n\r\nEthernet adapter Ethernet0:\r\n\r\n"
                b"   IPv4 Address. . . . . . . . . . . : 10.20.1.56\r\n"
                b"   Subnet Mask . . . . . . . . . . . : 255.255.0.0\r\n"
                b"   Default Gateway . . . . . . . . . : 10.20.0.1"
            ),
        ),
        (
            b"net user",
            b"\r\nUser accounts for \\\\DESK-56\r\n\r\n" + b"-" * 79 + b"\r\nAdministrator            jonas\r\n"
            b"The command completed successfully.",
        ),
        (
            b"dir",
            (
                b" Volume in drive C has no label.\r\n Volume Serial Number is 5A11-0C2E\r\n\r\n"
                b" Directory of C:\\Users\\jonas\\Downloads\r\n\r\n03/03/2026  08:01 AM    <DIR>          .\r\n"
                b"               0 File(s)              0 bytes"
            ),
        ),
    ):
        tcp.server(command + b"\n", trace.random.uniform(3, 9))
        tcp.client(command + b"\n", 0.01).client(output + prompt, 0.1)
    tcp.reset(SERVER)


@sample(
    "unix-shell",
    "A shell of a Linux server, opened by a flaw in a web application, over port 143.",
    verdicts={"not-imap": 1},
    shape="interactive-shell",
    alerts=("verdict", "c2"),
)
def unix_shell(trace: Trace) -> None:
    tcp = Tcp(trace, workstation(57, "linux"), outside("203.0.113.97"))
    tcp.client(
        b"bash: cannot set terminal process group (1204): Inappropriate ioctl for device\n"
        b"bash: no job control in this shell\nwww-data@shop:/var/www/html$ "
    )
    for command, output in (
        (b"id", b"uid=33(www-data) gid=33(www-data) groups=33(www-data)\n"),
        (b"uname -a", b"Linux shop 6.1.0-28-amd64 #1 SMP Debian 6.1.119-1 x86_64 GNU/Linux\n"),
        (b"ls -la /home", b"total 12\ndrwxr-xr-x  3 root root 4096 Jan 10 11:02 .\n"),
    ):
        tcp.server(command + b"\n", trace.random.uniform(2, 6))
        tcp.client(output + b"www-data@shop:/var/www/html$ ", 0.05)
    tcp.close(SERVER)


@sample(
    "encrypted",
    "Every byte of both sides looks random from the start, as of obfuscated proxies and some trojans.",
    verdicts={"not-imap": 1},
    shape="fully-encrypted",
    alerts=("verdict", "c2"),
)
def encrypted_tunnel(trace: Trace) -> None:
    tcp = Tcp(trace, workstation(58), outside("203.0.113.98"))
    for number in range(14):
        tcp.client(trace.random.randbytes(trace.random.randrange(180, 640)), 0.4 + number % 3)
        tcp.server(trace.random.randbytes(trace.random.randrange(400, 3_200)))
    tcp.close()


@sample(
    "stager",
    "The first stage of an implant: the server sends a length and then a Windows program.",
    verdicts={"not-imap": 1},
    shape="executable-stage",
    alerts=("verdict", "c2"),
)
def stager(trace: Trace) -> None:
    # A header and a DOS stub that cannot run, then noise: enough to be recognised, harmless by construction.
    header = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00\xb8" + bytes(7) + b"@" + bytes(35)
    program = (header + struct.pack("<I", 0x80) + bytes(14) + b"This program cannot be run in DOS mode.\r\r\n$").ljust(
        0x80, b"\0"
    )
    program += b"PE\0\0\x64\x86" + bytes(18) + trace.random.randbytes(23_000)
    tcp = Tcp(trace, workstation(59), outside("203.0.113.99"))
    tcp.server(struct.pack("<I", len(program)), 0.1).server(program)
    tcp.client(trace.random.randbytes(180), 2.0).reset(SERVER)


@sample(
    "gh0st",
    "A Gh0st check-in and its acknowledgement: magic, two lengths, a zlib stream.",
    verdicts={"not-imap": 1},
    protocol="gh0st",
    alerts=("verdict", "c2"),
)
def gh0st(trace: Trace) -> None:
    def unit(body: bytes) -> bytes:
        # Stored blocks, because two builds of zlib may pack the same bytes differently; the zlib header is level 6's.
        stored = b"\x78\x9c\x01" + struct.pack("<HH", len(body), len(body) ^ 0xFFFF) + body
        packed = stored + struct.pack(">I", zlib.adler32(body))
        return b"Gh0st" + struct.pack("<II", 13 + len(packed), len(body)) + packed

    tcp = Tcp(trace, workstation(60), outside("203.0.113.100"))
    tcp.client(unit(b"\x66" + b"DESK-60".ljust(60, b"\0") + trace.random.randbytes(163))).server(unit(b"\0"))
    for _ in range(6):
        tcp.client(unit(b"\x70"), 30.0).server(unit(b"\0"))
    tcp.reset(CLIENT)


@sample(
    "socks-proxy",
    "A SOCKS5 proxy on port 143: relays through a host that only seems to be a mail server.",
    verdicts={"not-imap": 2},
    protocol="socks5",
    alerts=("verdict",),
)
def socks_proxy(trace: Trace) -> None:
    for number, target in enumerate((b"www.example.com", b"files.example.net")):
        tcp = Tcp(trace, workstation(61, "linux"), outside("203.0.113.101"), start=4 * number)
        tcp.client(b"\x05\x01\x00").server(b"\x05\x00")
        tcp.client(b"\x05\x01\x00\x03" + bytes([len(target)]) + target + b"\x00\x50")
        tcp.server(b"\x05\x00\x00\x01" + bytes(6), 0.08)
        tcp.client(b"GET / HTTP/1.1\r\nHost: " + target + b"\r\n\r\n")
        tcp.server(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n", 0.1).close()


@sample(
    "yamux-tunnel",
    "A yamux session on port 143: a tunnel client opens streams through it and pings.",
    verdicts={"not-imap": 1},
    alerts=("verdict", "c2"),
)
def yamux_tunnel(trace: Trace) -> None:
    data, window, ping = 0, 1, 2
    syn, ack = 1, 2

    def frame(kind: int, flags: int, stream: int, length: int, body: bytes = b"") -> bytes:
        return struct.pack(">BBHII", 0, kind, flags, stream, length) + body  # version 0 (hashicorp/yamux, spec.md)

    tcp = Tcp(trace, workstation(64, "linux"), outside("203.0.113.103"))
    for stream in (1, 3, 5):
        asked = b"GET /%d HTTP/1.1\r\nHost: intranet.corp.example\r\n\r\n" % stream
        tcp.client(frame(window, syn, stream, 0) + frame(data, 0, stream, len(asked), asked), 2.0)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (20 * stream) + b"intranet page number" * stream
        tcp.server(frame(window, ack, stream, 0) + frame(data, 0, stream, len(answer), answer), 0.08)
        tcp.client(frame(ping, syn, 0, stream), 30.0).server(frame(ping, ack, 0, stream))
    tcp.reset(CLIENT)


@sample(
    "pop3-on-143",
    "An administrator's mistake: the POP3 service listens on port 143.",
    verdicts={"not-imap": 1},
    protocol="pop3",
    alerts=("verdict",),
)
def pop3_on_143(trace: Trace) -> None:
    play(
        Tcp(trace, workstation(62), provider()),
        """
S: +OK POP3 server ready
C: CAPA
S: +OK
S: USER
S: UIDL
S: .
C: QUIT
S: +OK bye
""",
    ).close(SERVER)


@sample(
    "wrong-tags",
    "It looks like IMAP line by line, but the server answers tags that nobody sent and obeys without a login.",
    verdicts={"mimic": 1},
    alerts=("verdict",),
)
def wrong_tags(trace: Trace) -> None:
    tcp = play(Tcp(trace, workstation(63), outside("203.0.113.103")), "S: * OK IMAP4rev1 ready")
    for number in range(8):
        blob = base64.b64encode(trace.random.randbytes(90)).decode()
        play(tcp, f"~ 6\nC: a{number} FETCH {blob}\nS: z{900 + number} OK {blob[::-1]}")
    tcp.close()


@sample(
    "two-readings",
    "Each byte comes twice and differs: an IMAP session for whoever watches, and an SSH session for the host.",
    verdicts={"genuine": 1},
    protocol="imap",
    alerts=("verdict",),
)
def two_readings(trace: Trace) -> None:
    tcp = Tcp(trace, workstation(66, "linux"), outside("203.0.113.105", system="linux"))

    def say(side: int, shown: bytes, meant: bytes, wait: float = 0.05) -> None:
        """Two copies of one length for the same place in the stream."""
        meant = meant.ljust(len(shown), b"\0")
        tcp.now += round(wait * SECOND)
        tcp.packet(side, "PA", shown)
        tcp.sequence[side] = (tcp.sequence[side] - len(shown)) & 0xFFFFFFFF
        tcp.now += MILLISECOND // 10
        tcp.packet(side, "PA", meant)

    say(SERVER, b"* OK [CAPABILITY IMAP4rev1] mail.example ready\r\n",
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3 (mail)\r\n")
    say(CLIENT, b"a1 CAPABILITY\r\n", b"SSH-2.0-Go.1\r\n")
    say(SERVER, b"* CAPABILITY IMAP4rev1 IDLE\r\na1 OK done\r\n", ssh_packet(b"\x14" + trace.random.randbytes(24)))
    for beat in range(2, 8):
        tag = b"a%d" % beat
        say(CLIENT, tag + b" NOOP                    \r\n", trace.random.randbytes(28), 6.0)
        say(SERVER, tag + b" OK NOOP completed       \r\n", trace.random.randbytes(28))
    say(CLIENT, b"a9 LOGOUT\r\n", b"\0" * 11)
    say(SERVER, b"* BYE bye\r\na9 OK done\r\n", b"\0" * 23)
    tcp.close(SERVER)


@sample("udp-143", "Datagrams to port 143: IMAP has never used UDP.", verdicts={"not-imap": 1}, alerts=("udp",))
def udp_143(trace: Trace) -> None:
    client, server = workstation(64, "linux"), outside("203.0.113.104")
    port = client.ephemeral_port()
    for beat in range(8):
        start = at(15 * beat + trace.random.uniform(0, 0.5))
        datagram(
            trace,
            start,
            client,
            server,
            port,
            143,
            b"\xa7\x01" + struct.pack(">HI", beat, 48) + trace.random.randbytes(48),
        )
        datagram(
            trace,
            start + trace.jitter(26_000_000),
            server,
            client,
            143,
            port,
            b"\xa7\x02" + struct.pack(">HI", beat, 16) + trace.random.randbytes(16),
        )


@sample(
    "http-probe",
    "A scanner sends an HTTP request to a real IMAP server: the server is genuine, the client is not.",
    verdicts={"genuine|undecided": 1},
    protocol="imap",
)
def http_probe(trace: Trace) -> None:
    play(
        Tcp(trace, stranger(78), mail_server()),
        f"""
S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] Dovecot ready.
C: GET / HTTP/1.1
C: Host: 10.20.0.25:143
C: User-Agent: probe/1.0
C: Accept: */*
C: {""}
S: GET BAD Error in IMAP command /: Unknown command.
S: Host: BAD Error in IMAP command 10.20.0.25:143: Unknown command.
S: User-Agent: BAD Error in IMAP command probe/1.0: Unknown command.
S: Accept: BAD Error in IMAP command */*: Unknown command.
S: * BAD Error in IMAP command received by server.
S: * BYE Too many invalid IMAP commands.
""",
    ).close(SERVER)

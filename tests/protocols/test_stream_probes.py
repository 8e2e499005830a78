"""Every probe of streams has a conversation that it names, whole and byte by byte, and bytes that it leaves alone."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from helpers.openings import Turn, c, growing, s, talk

from imapids.protocols.industrial import dnp3_header
from imapids.sniff import sniff
from imapids.sniff.stream_probes import TCP_PROBES


def be(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "big")


def le(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "little")


def dnp3(body: bytes) -> bytes:
    """A link header with its checksum, found by trying all of them."""
    return next(body + le(crc, 2) for crc in range(65_536) if dnp3_header(body + le(crc, 2)))


def nrpe(version: int, text: bytes) -> bytes:
    """A query with its sum: 1,036 bytes in version 2, an announced length from version 3 on."""
    head = be(version, 2) + be(1, 2)
    rest = be(0, 2) + (text.ljust(1_026, b"\0") if version == 2 else be(0, 2) + be(len(text)) + text + b"\0\0\0")
    return head + be(zlib.crc32(head + be(0) + rest)) + rest


def masked(key: bytes, header: bytes) -> bytes:
    """A packet of Meterpreter under its key: an empty session id, a header, and contents."""
    return key + bytes(byte ^ key[at & 3] for at, byte in enumerate(bytes(16) + header + bytes(20)))


RANDOM = bytes.fromhex("8f3ac1729de045b6137afcd80b92ee41c75d3e96aa04f1682b8dd953701ce4bf")
NOISE = b"".join(hashlib.sha256(bytes((at,))).digest() for at in range(16))
HTTP2_SETTINGS = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"
ENIP = le(0x65, 2) + le(4, 2) + bytes(20) + b"\x01\x00\x00\x00"
BGP = b"\xff" * 16 + be(29, 2) + b"\x01" + b"\x04" + bytes(9)
LDP = be(1, 2) + be(24, 2) + b"\x0a\x00\x00\x01\x00\x00" + be(0x0200, 2) + be(14, 2) + be(1) + bytes(10)
PDU16 = b"\x05\x00\x0b\x03\x10\x00\x00\x00" + le(24, 2) + bytes(14)
RPC = be(7) + be(0) + be(2) + be(100_003) + be(3) + bytes(20)
RPC_REPLY = be(7) + be(1) + bytes(16)
BITCOIN = b"\xf9\xbe\xb4\xd9version\x00\x00\x00\x00\x00" + le(8) + bytes(12)
DRDA = be(16, 2) + b"\xd0\x41\x00\x01" + be(10, 2) + b"\x10\x41" + bytes(6)
S7 = b"\x03\x00\x00\x19\x02\xf0\x80\x32\x01" + bytes(16)
S7_REPLY = b"\x03\x00\x00\x1b\x02\xf0\x80\x32\x03" + bytes(18)
COTP = b"\x03\x00\x00\x16\x11\xe0\x00\x00\x00\x07\x00\xc1\x02\x01\x00\xc2\x02\x01\x02\xc0\x01\x0a"
COTP_REPLY = b"\x03\x00\x00\x16\x11\xd0\x00\x07\x00\x01\x00\xc0\x01\x0a\xc1\x02\x01\x00\xc2\x02\x01\x02"
GH0ST = zlib.compress(b"check-in " * 20)
GH0ST = b"Magic" + le(13 + len(GH0ST)) + le(180) + GH0ST

CASES: tuple[tuple[str, tuple[Turn, ...]], ...] = (
    (
        "tls",
        (
            c(bytes.fromhex("16030100c8010000c40303") + bytes(200)),
            s(bytes.fromhex("160303007a020000760303") + bytes(120)),
        ),
    ),
    ("ssh", (s(b"SSH-2.0-OpenSSH_9.2\r\n"), c(b"SSH-2.0-PuTTY\r\n"))),
    ("ssh", (s(b"Hello there\r\nSSH-2.0-OpenSSH_9.2\r\n"), c(b"SSH-2.0-PuTTY\r\n"))),
    ("rfb", (s(b"RFB 003.008\n"), c(b"RFB 003.003\n"))),
    ("telnet", (s(b"\xff\xfd\x18\xff\xfb\x01login: "), c(b"\xff\xfb\x18"))),
    ("x11", (c(b"l\x00\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00"), s(b"\x01\x00\x0b\x00\x00\x00\x40\x00"))),
    (
        "rdp",
        (
            c(b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00"),
            s(b"\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x00\x08\x00\x02\x00\x00\x00"),
        ),
    ),
    ("s7comm", (c(COTP), s(COTP_REPLY), c(S7), s(S7_REPLY))),
    ("iso-tsap", (c(COTP), s(COTP_REPLY))),
    (
        "mms",
        (
            c(COTP),
            s(COTP_REPLY),
            c(b"\x03\x00\x00\x0d\x02\xf0\x80\x0d\xb8\x05\x06\x13\x01"),
            s(b"\x03\x00\x00\x0b\x02\xf0\x80\x0e\x95\x05\x06"),
        ),
    ),
    ("http", (c(b"GET /gate.php HTTP/1.1\r\nHost: a\r\n\r\n"), s(b"HTTP/1.1 200 OK\r\n\r\n"))),
    ("http", (c(b"CONNECT mail.example.test:443 HTTP/1.1\r\n\r\n"), s(b"HTTP/1.1 200\r\n\r\n"))),
    ("http2", (c(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HTTP2_SETTINGS), s(HTTP2_SETTINGS))),
    ("rtsp", (c(b"OPTIONS rtsp://a/b RTSP/1.0\r\n\r\n"), s(b"RTSP/1.0 200 OK\r\n\r\n"))),
    ("sip", (c(b"OPTIONS sip:a@b.test SIP/2.0\r\n\r\n"), s(b"SIP/2.0 200 OK\r\n\r\n"))),
    ("smtp", (s(b"220 mx.example.test ESMTP Postfix\r\n"), c(b"EHLO a\r\n"))),
    ("smtp", (s(b"220 mx ready\r\n"), c(b"EHLO a\r\n"))),
    ("ftp", (s(b"220 ProFTPD Server\r\n"), c(b"USER bob\r\n"))),
    ("ftp", (s(b"220 ready\r\n"), c(b"USER bob\r\n"))),
    ("nntp", (s(b"200 news.example.test InterNetNews ready\r\n"), c(b"MODE READER\r\n"))),
    ("pop3", (s(b"+OK ready\r\n"), c(b"USER bob\r\n"))),
    ("sieve", (s(b'"IMPLEMENTATION" "x"\r\n"SIEVE" "fileinto"\r\nOK\r\n'), c(b"LOGOUT\r\n"))),
    ("acap", (s(b"* ACAP (SASL PLAIN)\r\n"),)),
    ("irc", (c(b"NICK bot\r\nUSER a b c :d\r\n"), s(b":irc.example.test 001 bot :Welcome\r\n"))),
    ("mysql", (s(b"\x4a\x00\x00\x00\x0a8.0.36\x00" + bytes(70)), c(b"\x60\x00\x00\x01" + bytes(96)))),
    ("mysql", (s(b"\x48\x00\x00\x00\xffj\x04Host 'a' is not allowed to connect" + bytes(40)),)),
    (
        "postgresql",
        (
            c(b"\x00\x00\x00\x08\x04\xd2\x16\x2f"),
            s(b"N"),
            c(b"\x00\x00\x00\x13\x00\x03\x00\x00user\x00bob\x00\x00"),
            s(b"R\x00\x00\x00\x08\x00\x00\x00\x00"),
        ),
    ),
    ("postgresql", (c(RANDOM), s(b"E\x00\x00\x00\x20SFATAL\x00VFATAL\x00C0A000\x00"))),
    ("mssql", (c(b"\x12\x01\x00\x1a\x00\x00\x00\x00" + bytes(18)), s(b"\x04\x01\x00\x1a\x00\x00\x01\x00" + bytes(18)))),
    (
        "oracle",
        (
            c(be(58, 2) + b"\x00\x00\x01\x00\x00\x00" + be(312, 2) + bytes(16) + be(0x1A, 2) + be(32, 2) + bytes(28)),
            s(be(11, 2) + b"\x00\x00\x0b\x00\x00\x00" + bytes(3)),
        ),
    ),
    ("mongodb", (c(le(20) + le(1) + le(0) + le(2013) + bytes(4)), s(le(20) + le(2) + le(1) + le(2013) + bytes(4)))),
    ("redis", (c(b"*1\r\n$4\r\nPING\r\n"), s(b"+PONG\r\n"))),
    ("pop3", (s(b"-ERR Auth process broken\r\n"),)),
    ("stomp", (s(b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\x00"),)),
    ("redis", (s(b"-ERR unknown command 'a1'\r\n"),)),
    ("redis", (s(b"-ERR max number of clients reached\r\n"),)),
    ("redis", (c(b"HELP\r\n"), s(b"-ERR unknown command 'HELP'\r\n"))),
    ("redis", (c(b"*1\r\n$4\r\nPING\r\n"),)),
    ("memcached", (c(b"mn\r\n"), s(b"MN\r\n"))),
    ("memcached", (c(b"stats\r\n"), s(b"STAT pid 1\r\nEND\r\n"))),
    ("memcached", (c(b"\x80\x0b" + bytes(22)), s(b"\x81\x0b" + bytes(22)))),
    ("cassandra", (c(b"\x04\x00\x00\x00\x05\x00\x00\x00\x00"), s(b"\x84\x00\x00\x00\x06\x00\x00\x00\x02\x00\x00"))),
    ("elasticsearch", (c(b"ES" + be(8) + bytes(8)), s(b"ES" + be(8) + bytes(8)))),
    ("drda", (c(DRDA), s(DRDA))),
    ("zabbix", (c(b"ZBXD\x01" + le(10, 8) + b"agent.ping"), s(b"ZBXD\x01" + le(1, 8) + b"1"))),
    ("bolt", (c(b"\x60\x60\xb0\x17" + be(0x0404) + bytes(12)), s(b"\x00\x00\x04\x04"))),
    ("clickhouse", (c(b"\x00\x11ClickHouse client\x17"), s(b"\x00\x0aClickHouse\x17"))),
    ("smb", (c(be(60) + b"\xfeSMB@" + bytes(55)), s(be(60) + b"\xfeSMB@" + bytes(55)))),
    ("ldap", (c(bytes.fromhex("300c020101600702010304008000")), s(bytes.fromhex("300c02010161070a010004000400")))),
    (
        "kerberos",
        (
            c(be(40) + b"\x6a\x26\x30\x24\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a" + bytes(26)),
            s(be(40) + b"\x7e\x26\x30\x24\xa0\x03\x02\x01\x05\xa1\x03\x02\x01\x1e" + bytes(26)),
        ),
    ),
    ("dcerpc", (c(PDU16 * 2), s(PDU16.replace(b"\x0b", b"\x0c") * 2))),
    ("sunrpc", (c(be(0x80000000 | len(RPC)) + RPC), s(be(0x80000000 | len(RPC_REPLY)) + RPC_REPLY))),
    ("afp", (c(b"\x00\x03\x00\x01" + bytes(12)), s(b"\x01\x03\x00\x01" + bytes(12)))),
    ("iscsi", (c(b"\x43\x87\x00\x00\x00" + be(16, 3) + bytes(56)), s(b"\x23\x87\x00\x00\x00" + be(16, 3) + bytes(56)))),
    (
        "git",
        (c(b"0033git-upload-pack /p.git\x00host=git.example.test\x00"), s(b"00a8" + b"a" * 40 + b" HEAD\x00caps\n")),
    ),
    ("rsync", (s(b"@RSYNCD: 31.0\n"), c(b"@RSYNCD: 31.0\n"))),
    ("svn", (s(b"( success ( 2 2 ( ) ( edit-pipeline ) ) ) "), c(b"( 2 ( edit-pipeline ) 20:svn://a )\n"))),
    ("cvspserver", (c(b"BEGIN AUTH REQUEST\n/cvs\n"), s(b"I HATE YOU\n"))),
    ("finger", (c(b"bob\r\n"), s(b"Login: bob            Name: Bob\r\n"))),
    ("finger", (c(b"/W bob\r\n"), s(b"who?\r\n"))),
    ("gopher", (c(b"\r\n"), s(b"1Files\t/files\tgopher.example.test\t70\r\n."))),
    ("whois", (c(b"example.test\r\n"), s(b"% Whois service\r\ndomain: example.test\r\n"))),
    (
        "dns",
        (
            c(be(29, 2) + be(7, 2) + b"\x01\x00" + be(1, 2) + bytes(6) + b"\x07example\x04test\x00" + be(1, 2) * 2),
            s(be(29, 2) + be(7, 2) + b"\x81\x80" + be(1, 2) + bytes(6) + b"\x07example\x04test\x00" + be(1, 2) * 2),
        ),
    ),
    ("amqp", (c(b"AMQP\x00\x00\x09\x01"), s(b"\x01\x00\x00\x00\x00\x00\x10\x00\x0a\x00\x0a" + bytes(20)))),
    ("mqtt", (c(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab"), s(b"\x20\x02\x00\x00"))),
    ("mqtt", (s(b"\x20\x02\x00\x00\x90\x03\x00\x01\x01\x90\x03\x00\x02\x02"),)),
    (
        "kafka",
        (c(be(20) + be(18, 2) + be(0, 2) + be(5) + be(7, 2) + b"rdkafka" + bytes(3)), s(be(10) + be(5) + bytes(6))),
    ),
    (
        "xmpp",
        (
            c(b"<?xml version='1.0'?><stream:stream to='a.test' xmlns='jabber:client'>"),
            s(b"<?xml version='1.0'?><stream:stream from='a.test' xmlns='jabber:client'>"),
        ),
    ),
    ("stomp", (c(b"CONNECT\nlogin:a\n\n\x00"), s(b"CONNECTED\nversion:1.2\n\n\x00"))),
    ("nats", (s(b'INFO {"server_id":"A","version":"2"} \r\n'), c(b'CONNECT {"verbose":false}\r\n'))),
    ("zmtp", (c(b"\xff" + bytes(7) + b"\x01\x7f\x03\x00NULL"), s(b"\xff" + bytes(7) + b"\x01\x7f\x03\x00NULL"))),
    ("openwire", (c(be(20) + b"\x01ActiveMQ" + bytes(11)), s(be(20) + b"\x01ActiveMQ" + bytes(11)))),
    ("gearman", (c(b"\x00REQ" + be(1) + be(2) + b"wc"), s(b"\x00RES" + be(10) + be(0)))),
    ("gearman", (c(b"workers\r\n"), s(b"36 10.0.0.1 - : wc\n.\n"))),
    ("beanstalk", (c(b"put 1 0 60 5\r\nhello\r\n"), s(b"INSERTED 1\r\n"))),
    ("mpd", (s(b"OK MPD 0.23.5\n"), c(b"status\n"))),
    ("munin", (s(b"# munin node at a.test\n"), c(b"list\n"))),
    ("bacula", (c(be(27) + b"Hello Director a calling\n\x00\x00"), s(be(20) + b"auth cram-md5 <1@a>\n"))),
    ("distcc", (c(b"DIST00000001ARGC00000001"), s(b"DONE00000001STAT00000000"))),
    ("iperf3", (c(b"4isbi5mqsxdzjchir3fr7cbng3sosqbdevu7\x00"), s(b"\x09"))),
    (
        "dicom",
        (
            c(b"\x01\x00" + be(68) + b"\x00\x01\x00\x00" + b"ANY-SCP         ECHOSCU         " + bytes(32)),
            s(b"\x02\x00" + be(68) + b"\x00\x01\x00\x00" + b"ANY-SCP         ECHOSCU         " + bytes(32)),
        ),
    ),
    (
        "spotify",
        (
            c(b"\x00\x04\x00\x00\x01\x49\x52\x0f\x50\x02\xa0\x01" + bytes(20)),
            s(b"\x00\x00\x02\x1e\x52\x97\x04\x52" + bytes(20)),
        ),
    ),
    (
        "thrift",
        (c(b"\x80\x01\x00\x01" + be(4) + b"ping" + bytes(5)), s(b"\x80\x01\x00\x02" + be(4) + b"ping" + bytes(5))),
    ),
    (
        "thrift",
        (
            c(be(17) + b"\x80\x01\x00\x01" + be(4) + b"ping" + bytes(5)),
            s(be(17) + b"\x80\x01\x00\x02" + be(4) + b"ping" + bytes(5)),
        ),
    ),
    ("java-rmi", (c(b"JRMI\x00\x02K"), s(b"N\x00\x09127.0.0.1\x00\x00\x86\x92"))),
    ("jdwp", (c(b"JDWP-Handshake"), s(b"JDWP-Handshake"))),
    ("smpp", (c(be(37) + be(9) + be(0) + be(1) + bytes(21)), s(be(20) + be(0x80000009) + be(0) + be(1) + bytes(4)))),
    (
        "skinny",
        (
            c(le(16) + le(0) + le(1) + bytes(12) + le(4) + le(0) + le(0)),
            s(le(4) + le(0) + le(0x81) + le(4) + le(0) + le(0x9B)),
        ),
    ),
    ("fastcgi", (c(b"\x01\x01\x00\x01\x00\x08\x00\x00" + bytes(8)), s(b"\x01\x06\x00\x01\x00\x04\x00\x00abcd"))),
    ("ajp13", (c(b"\x12\x34\x00\x01\x0a"), s(b"AB\x00\x01\x09"))),
    ("rtmp", (c(b"\x03" + be(1) + bytes(4) + RANDOM), s(b"\x03" + be(1) + bytes(4) + RANDOM))),
    ("fix", (c(b"8=FIX.4.4\x019=65\x0135=A\x01"), s(b"8=FIX.4.4\x019=65\x0135=A\x01"))),
    ("msnp", (c(b"VER 1 MSNP8 CVR0\r\n"), s(b"VER 1 MSNP8\r\n"))),
    (
        "stratum",
        (c(b'{"id":1,"jsonrpc":"2.0","method":"login","params":{}}\n'), s(b'{"id":1,"jsonrpc":"2.0","result":{}}\n')),
    ),
    ("msgpack-rpc", (c(b"\x94\x00\x00\xa4poll\x90"), s(b"\x94\x01\x00\xc0\xc3"))),
    ("dnp3", (c(dnp3(b"\x05\x64\x05\xc0\x01\x00\x00\x04")), s(dnp3(b"\x05\x64\x05\x00\x00\x04\x01\x00")))),
    (
        "modbus",
        (c(b"\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x01"), s(b"\x00\x01\x00\x00\x00\x05\x01\x03\x02\x00\x07")),
    ),
    ("iec-104", (c(b"\x68\x04\x07\x00\x00\x00"), s(b"\x68\x04\x0b\x00\x00\x00"))),
    ("ethernet-ip", (c(ENIP), s(ENIP))),
    ("opcua", (c(b"HELF" + le(32) + bytes(24)), s(b"ACKF" + le(28) + bytes(20)))),
    (
        "hislip",
        (c(b"HS\x00\x00" + be(0x01000001) + be(7, 8) + b"hislip0"), s(b"HS\x01\x00" + be(0x01000001) + be(0, 8))),
    ),
    ("doip", (c(b"\x02\xfd\x00\x05" + be(7) + bytes(7)), s(b"\x02\xfd\x00\x06" + be(9) + bytes(9)))),
    ("synphasor", (c(b"\xaa\x41" + be(18, 2) + bytes(14)), s(b"\xaa\x31" + be(40, 2) + bytes(36)))),
    (
        "c1222",
        (
            c(b"\x60\x20\xa2\x06\x06\x04\x2b\x06\x01\x04" + bytes(24)),
            s(b"\x60\x20\xa2\x06\x06\x04\x2b\x06\x01\x04" + bytes(24)),
        ),
    ),
    (
        "z3950",
        (
            c(b"\xb4\x20\x83\x02\x00\xe0\x84\x03\x00\xc1\xa2\x85" + bytes(22)),
            s(b"\xb5\x20\x83\x02\x00\xe0\x84\x03\x00\xc1\x82\x85" + bytes(22)),
        ),
    ),
    (
        "ams",
        (
            c(b"\x00\x00" + le(32) + bytes(16) + le(2, 2) + le(4, 2) + le(0) + bytes(8)),
            s(b"\x00\x00" + le(32) + bytes(16) + le(2, 2) + le(5, 2) + le(0) + bytes(8)),
        ),
    ),
    (
        "hart-ip",
        (
            c(b"\x01\x00\x00\x00\x00\x02" + be(13, 2) + bytes(5)),
            s((b"\x01\x01\x00\x00\x00\x02" + be(13, 2) + bytes(5)) * 2),
        ),
    ),
    ("trdp", (c(bytes(4) + b"\x01\x00Mr" + bytes(40)), s(bytes(4) + b"\x01\x00Mp" + bytes(40)))),
    (
        "dlms",
        (
            c(b"\x00\x01\x00\x10\x00\x01" + be(4, 2) + b"\x60\x02\x00\x00"),
            s(b"\x00\x01\x00\x01\x00\x10" + be(4, 2) + b"\x61\x02\x00\x00"),
        ),
    ),
    ("fox", (s(b"fox a 0 -1 fox hello\n"), c(b"fox a 1 -1 fox hello\n"))),
    ("fins", (c(b"FINS" + be(12) + bytes(12)), s(b"FINS" + be(16) + bytes(16)))),
    ("knxnet_ip", (c(b"\x06\x10\x02\x05" + be(26, 2) + bytes(20)), s(b"\x06\x10\x02\x06" + be(20, 2) + bytes(14)))),
    ("bgp", (c(BGP), s(BGP))),
    ("ldp", (c(LDP), s(LDP))),
    ("openflow", (c(b"\x04\x00\x00\x08" + be(1)), s(b"\x04\x00\x00\x08" + be(2)))),
    (
        "diameter",
        (
            c(b"\x01" + be(20, 3) + b"\x80" + be(257, 3) + bytes(12)),
            s(b"\x01" + be(20, 3) + b"\x00" + be(257, 3) + bytes(12)),
        ),
    ),
    (
        "pptp",
        (
            c(be(156, 2) + b"\x00\x01\x1a\x2b\x3c\x4d\x00\x01" + bytes(146)),
            s(be(156, 2) + b"\x00\x01\x1a\x2b\x3c\x4d\x00\x02" + bytes(146)),
        ),
    ),
    ("tacacs", (c(b"\xc0\x01\x01\x00" + be(7) + be(8) + bytes(8)), s(b"\xc0\x01\x02\x00" + be(7) + be(6) + bytes(6)))),
    (
        "rpki-rtr",
        (c(b"\x01\x02\x00\x00" + be(8)), s(b"\x01\x03\x00\x05" + be(8) + b"\x01\x04\x00\x00" + be(20) + bytes(12))),
    ),
    ("msdp", (c(b"\x04\x00\x03"), s(b"\x04\x00\x03"))),
    (
        "socks5",
        (
            c(b"\x05\x02\x00\x02"),
            s(b"\x05\x00"),
            c(b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"),
            s(b"\x05\x00\x00\x01" + bytes(6)),
        ),
    ),
    ("socks4", (c(b"\x04\x01\x00\x50\x0a\x00\x00\x01\x00"), s(b"\x00\x5a" + bytes(6)))),
    ("openvpn", (c(be(42, 2) + b"\x38" + RANDOM + bytes(9)), s(be(54, 2) + b"\x40" + RANDOM + bytes(21)))),
    (
        "stun",
        (c(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + RANDOM[:12]), s(b"\x01\x01\x00\x00\x21\x12\xa4\x42" + RANDOM[:12])),
    ),
    ("tinc", (c(b"0 alpha 17\n"), s(b"0 beta 17\n"))),
    ("frp", (c(b"o" + be(40, 8) + b'{"version":"0.50"}' + bytes(22)), s(b"1" + be(20, 8) + b'{"version":"0.50"}  '))),
    ("teamviewer", (c(b"\x17\x24\x0a" + le(4, 2) + bytes(4)), s(b"\x17\x24\x0b" + le(4, 2) + bytes(4)))),
    ("chisel", (s(b"SSH-chisel-v3-server\r\n"), c(b"SSH-chisel-v3-client\r\n"))),
    ("bittorrent", (c(b"\x13BitTorrent protocol" + bytes(48)), s(b"\x13BitTorrent protocol" + bytes(48)))),
    ("gnutella", (c(b"GNUTELLA CONNECT/0.6\r\n\r\n"), s(b"GNUTELLA/0.6 200 OK\r\n\r\n"))),
    ("edonkey", (c(b"\xe3" + le(6) + b"\x01" + bytes(5)), s(b"\xe3" + le(6) + b"\x4c" + bytes(5)))),
    ("bitcoin", (c(BITCOIN), s(BITCOIN))),
    ("nano", (c(b"RC\x14\x14\x12\x0a\x05\x00" + RANDOM), s(b"RC\x14\x14\x12\x0a\x07\x00" + RANDOM))),
    ("gh0st", (c(GH0ST), s(b"Magic" + le(22) + le(1) + zlib.compress(b"\x00")))),
    ("njrat", (c(b"24\x00ll|'|'|SGFja2Vk|'|'|PC|'|'|"), s(b"0\x00"))),
    ("darkcomet", (s(b"8EA4AB05FA7E"), c(b"0123456789AB"))),
    ("poison-ivy", (c(NOISE[:256]), s(NOISE[256:]), c(le(8) + RANDOM[:8]))),
    ("nanocore", (c(le(8) + RANDOM[:8] + le(16) + RANDOM[:16]), s(le(8) + RANDOM[:8]))),
    ("netwire", (c(le(0x41) + b"\x03" + bytes(65)), s(le(0x3F) + b"\x05" + bytes(63)))),
    ("remcos", (c(b"\x24\x04\xff\x00" + le(20) + bytes(20)), s(b"\x24\x04\xff\x00" + le(4) + bytes(4)))),
    (
        "remcos",
        (c(bytes.fromhex("1b84d5b05df4c493c530c2") + RANDOM), s(bytes.fromhex("1b84d5b05df4c493c530c2") + RANDOM[:21])),
    ),
    ("warzone", (s(b"\x09\x12\x3b\x42" + RANDOM[:8]), c(b"\x09\x12\x3b\x42" + RANDOM))),
    ("luminositylink", (c(b"CONNECT8_=_8PC8_=_8bob8_=_8"), s(b"8_=_8"))),
    ("strrat", (c(b"18\r\n\r\nping|STRRAT|abc|123"), s(b"ok"))),
    ("adwind", (c(b"\x00\x28" + b"0123456789abcdef0123" * 2), s(b"\x00\x00\x00\x01"))),
    ("houdini", (c(b"\x0d\x00\x00\x00new_slave\r\n"), s(b"\x00"))),
    ("plugx", (c(b"\x7a\x13" + bytes.fromhex("500001000000000400000010") + bytes(8)), s(b"\x01"))),
    ("winnti", (c(b"\xce\xfa\xad\xde\x01\x00\x00\x00" + bytes(8)), s(b"\x01"))),
    ("derusbi", (c(b"$$$--Hello abc"), s(b"Wrod--$$$"))),
    ("facefish", (c(b"\x00\x00\x00\x02\x00\x00\x00\x00"), s(b"\x18\x00\x01\x02" + RANDOM[:24]))),
    ("imminent", (c(bytes.fromhex("2c0000000200000001000c24") + bytes(36)), s(b"\x01"))),
    ("quasar", (c(bytes.fromhex("10000000999ac7b8") + bytes(12)), s(bytes.fromhex("10000000999ac7b8")))),
    ("xtremerat", (c(b"myversion|3.6 Public\r\n"), s(b"X"))),
    ("gafgyt", (c(b"[Shelling]-->[10.0.0.1]-->[x86]"), s(b"PING"))),
    ("caldera-manx", (s(b"\x20"), c(b'{"architecture":"amd64","platform":"linux"}'))),
    ("external-c2", (c(le(8) + b"arch=x64" + le(11) + b"pipename=ab"), s(le(4) + b"abcd"))),
    (
        "meterpreter",
        (s(be(48) + be(0) + be(24) + b"\x00\x01\x00\x01core_channel_open\x00" + bytes(8)), c(b"\x00\x00\x00\x08")),
    ),
    ("meterpreter", (s(masked(b"\x5a\x31\xc7\x88", be(0) + be(12) + be(0))),
                     c(masked(b"\x19\x77\x02\xe4", be(1) + be(40) + be(1))))),
    ("meterpreter", (s(masked(b"\x5a\x31\xc7\x88", be(0) + be(12) + be(10))),)),
    ("mirai", (c(b"\x00\x00\x00\x01\x00"), s(b"\x00\x00"))),
    ("daytime", (s(b"Sun Nov 22 08:12:35 2026\r\n"),)),
    ("daytime", (s(b"Sun, 22 Nov 2026 08:12:35 UTC\r\n"),)),
    ("chargen", (s(bytes(range(0x21, 0x69)) + b"\r\n" + bytes(range(0x22, 0x6A)) + b"\r\n"),)),
    ("ident", (c(b"6193, 23\r\n"), s(b"6193, 23 : USERID : UNIX : bob\r\n"))),
    ("spamd", (c(b"CHECK SPAMC/1.5\r\nContent-length: 5\r\n\r\nhello"), s(b"SPAMD/1.1 0 EX_OK\r\n"))),
    ("clamd", (c(b"zINSTREAM\x00" + be(5) + b"hello" + be(0)), s(b"stream: OK\x00"))),
    ("clamd", (c(b"nVERSION\n"), s(b"ClamAV 1.0.9\n"))),
    ("gpsd", (s(b'{"class":"VERSION","release":"3.22"}\r\n'), c(b"?DEVICES;\n"))),
    ("asterisk-manager", (s(b"Asterisk Call Manager/7.0.3\r\n"), c(b"Action: Login\r\n"))),
    ("vtun", (s(b"VTUN server ver 3.X 12/19/2021\n"), c(b"HOST: bob\n"))),
    ("relp", (c(b"1 open 14 relp_version=0\n"), s(b"1 rsp 92 200 OK\n"))),
    ("postfix-policy", (c(b"request=smtpd_access_policy\n\n"), s(b"action=DUNNO\n\n"))),
    ("tor-control", (c(b"PROTOCOLINFO 1\r\n"), s(b"250-PROTOCOLINFO 1\r\n"))),
    ("zookeeper", (c(b"ruok"), s(b"imok"))),
    ("zookeeper", (c(be(44) + bytes(12) + be(30_000) + bytes(8) + be(16) + bytes(16)),
                   s(be(36) + bytes(4) + be(30_000) + b"\x01" * 8 + be(16) + bytes(16)))),
    ("printer", (c(b"\x02lp\n"), s(b"\x00"))),
    ("printer", (c(b"\x04lp bob\n"), s(b"no entries\n"))),
    ("pdl-datastream", (c(b"\x1b%-12345X@PJL INFO ID\r\n"), s(b"@PJL INFO ID\r\n"))),
    ("t3", (c(b"t3 12.2.1\nAS:255\nHL:19\n\n"), s(b"HELO:12.2.1.3.0.false\nAS:2048\n"))),
    ("adb", (c(b"000chost:version"), s(b"OKAY00040029"))),
    ("dict", (s(b"220 s.test dictd 1.13 <auth.mime> <7.1@s.test>\r\n"), c(b"SHOW DB\r\n"))),
    ("hylafax", (s(b"220 s.test server (HylaFAX (tm) Version 6.0.7) ready.\r\n"), c(b"USER bob\r\n"))),
    ("giop", (c(b"GIOP\x01\x02\x01\x00" + le(20) + bytes(20)), s(b"GIOP\x01\x02\x01\x01" + le(20) + bytes(20)))),
    ("java-objects", (s(b"\xac\xed\x00\x05sr"), c(b"\xac\xed\x00\x05sr"))),
    ("mc-nmf", (c(b"\x00\x01\x00\x01\x02\x02\x0enet.tcp://a/b/\x03\x08\x0c"), s(b"\x0b"))),
    ("ms-nrtp", (c(b".NET\x01\x00\x00\x00\x00\x00"), s(b".NET\x01\x00\x02\x00\x00\x00"))),
    ("ceph", (s(b"ceph v2\n\x10\x00"), c(b"ceph v2\n\x10\x00"))),
    ("redis-cluster", (c(b"RCmb" + be(2_256) + bytes(40)), s(b"RCmb" + be(2_256) + bytes(40)))),
    ("ibm-mqseries", (c(b"TSH " + be(276) + bytes(40)), s(b"TSH " + be(276) + bytes(40)))),
    ("hadoop-rpc", (c(b"hrpc\x09\x00\x00" + be(30) + bytes(30)), s(be(40) + bytes(40)))),
    ("nsq", (c(b"  V2"), s(be(6) + be(0) + b"OK"))),
    ("agentx", (c(b"\x01\x01\x00\x00" + bytes(12) + le(4) + bytes(4)),
                s(b"\x01\x12\x00\x00" + bytes(12) + le(8) + bytes(8)))),
    ("milter", (c(be(13) + b"O" + be(6) + be(0x1FF) + be(0x1FFFFF)), s(be(13) + b"O" + be(6) + be(0) + be(0)))),
    ("nrpe", (c(nrpe(2, b"_NRPE_CHECK")), s(nrpe(2, b"NRPE v4.1.0")))),
    ("nrpe", (c(nrpe(3, b"_NRPE_CHECK")), s(nrpe(3, b"NRPE v4.1.0")))),
    ("nbd", (s(b"NBDMAGICIHAVEOPT\x00\x03"), c(be(1)))),
    ("spice", (c(b"REDQ" + le(2) + le(2) + le(18) + bytes(18)), s(b"REDQ" + le(2) + le(2) + le(186) + bytes(186)))),
    ("tarantool", (s(b"Tarantool 2.6.0 (Binary) 0c05d6d7-8e6b-4b1c-9d6b-8f6f1f3a9b00\n" + b"c2FsdA==\n"),)),
    ("rndc", (c(be(145) + be(1) + b"\x05_auth" + bytes(40)), s(be(180) + be(1) + b"\x05_auth" + bytes(40)))),
    ("gds-db", (c(be(1) + be(19) + be(2) + be(36) + bytes(20)), s(be(3) + be(10) + be(1) + be(5)))),
    ("epmd", (c(b"\x00\x01n"), s(be(4_369) + b"name a at port 9100\n"))),
    ("epmd", (c(be(14, 2) + b"x" + be(9_100, 2) + b"\x4d\x00" + be(6, 2) + be(5, 2) + be(1, 2) + b"a" + be(0, 2)),
              s(b"y\x00\x00\x01"))),
    ("erlang", (c(be(19, 2) + b"n\x00\x05" + be(0x37FBD) + b"b@c.example"), s(be(3, 2) + b"sok"))),
    ("minecraft", (c(b"\x0f\x00\xff\xff\xff\xff\x0f\x05a.b.c\x63\xdd\x01\x01\x00"),
                   s(b"\x8a\x01\x00\x87\x01" + b'{"version":{}}'))),
    ("aerospike", (c(b"\x02\x01" + be(6, 6) + b"build\n"), s(b"\x02\x01" + be(14, 6) + b"build\t5.7.0.8\n"))),
    ("rlogin", (c(b"\x00bob\x00bob\x00xterm/38400\x00"), s(b"\x00Password: "))),
    ("rsh", (c(b"1022\x00bob\x00bob\x00id\x00"), s(b"\x00uid=1000(bob)\n"))),
    ("rsh", (c(b"0\x00bob\x00hunter2\x00id\x00"), s(b"\x01Login incorrect.\n"))),
    ("source-rcon", (c(le(17) + le(7) + le(3) + b"hunter2\x00\x00"), s(le(10) + le(7) + le(2) + b"\x00\x00"))),
    ("echo", (c(b"abcdefgh"), s(b"abcdefgh"), c(b"ij"), s(b"ij"))),
)


@pytest.mark.parametrize(
    ("name", "turns"), [pytest.param(name, turns, id=f"{name} {at}") for at, (name, turns) in enumerate(CASES)]
)
def test_a_conversation_is_named_whole_and_byte_by_byte(name: str, turns: tuple[Turn, ...]) -> None:
    whole = sniff(talk(*turns))
    assert whole.finding is not None
    assert whole.finding.protocol == name
    assert whole.kind == ("tls" if name == "tls" else "opaque")
    decided = None
    for opening in growing(turns, [1]):
        now = sniff(opening)
        if decided is not None:
            assert now == decided
        elif now.final:
            decided = now
    assert decided == whole


TRAILING_DECIDES = {
    "socks5",
    "jdwp",
    "echo",
    "darkcomet",
    "poison-ivy",
    "nanocore",
    "redis",
    "acap",
    "mysql",
    "mqtt",
    "ethernet-ip",
    "hart-ip",
    "msdp",
}
"""Names that hang on exact sizes, on turns, or on a side that said nothing."""


@pytest.mark.parametrize(
    ("name", "turns"),
    [
        pytest.param(name, turns, id=f"{name} {at}")
        for at, (name, turns) in enumerate(CASES)
        if name not in TRAILING_DECIDES and name not in {"frp", "nanocore"}
    ],
)
def test_the_name_stays_with_the_server_s_half_alone_or_is_not_given(name: str, turns: tuple[Turn, ...]) -> None:
    """One side of a capture may name the protocol or not: another name is wrong."""
    server = tuple(turn for turn in turns if turn[0] == 1)
    finding = sniff(talk(*server, sides_seen="server")).finding
    assert finding is None or finding.protocol in (name, None, *ALIKE.get(name, ()))


ALIKE = {"rdp": ("iso-tsap",), "s7comm": ("iso-tsap",), "mms": ("iso-tsap",)}


def test_every_probe_has_a_case() -> None:
    named = {name for name, _ in CASES}
    several = {"tpkt": "rdp", "remote-commands": "rsh",
               "reply-codes": "smtp", "fake-tls": "tls", "executable-stage": "echo", "shape": "echo"}
    assert {several.get(probe.name, probe.name) for probe in TCP_PROBES} <= named


@pytest.mark.parametrize(
    "turns",
    [
        pytest.param((s(b"ERROR\r\n"),), id="an error that memcached, STOMP and others answer"),
        pytest.param((s(b"220"), c(b"a001 CAPABILITY\r\n")), id="a bare reply code could be SMTP, FTP or else"),
        pytest.param((s(b"200 OK\r\n"), c(b"hello\r\n")), id="a reply code and a word"),
        pytest.param((c(b"+OK\r\n"), s(b"+OK\r\n")), id="two sides that agree on OK"),
        pytest.param((c(b"\x05\x01\x00"), s(b"\x04\x00")), id="a SOCKS request that is not answered as such"),
        pytest.param((c(be(5) + be(0, 2) * 2), s(be(5) + be(0, 2) * 2)), id="short binary units"),
        pytest.param((s(b"RFB 003,008\n"), c(b"x")), id="almost an RFB banner"),
        pytest.param((s(b"SSH-3.0-x\r\n"), c(b"y")), id="a version of SSH that does not exist"),
        pytest.param((c(b"MSG 5 N 130\r\n"), s(b"ACK 5\r\n")), id="messenger-like lines of a trojan"),
        pytest.param(
            (
                c(b"\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x01"),
                s(b"\x09\x09\x00\x00\x00\x05\x01\x03\x02\x00\x07"),
            ),
            id="a Modbus reply to another transaction",
        ),
    ],
)
def test_no_name_is_better_than_a_wrong_one(turns: tuple[Turn, ...]) -> None:
    finding = sniff(talk(*turns)).finding
    assert finding is None or finding.protocol is None

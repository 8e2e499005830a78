// Proxies and tunnels: what is carried is another conversation. The text of every rule is our own.

// Holds for the whole file (a namespace of its own): genuine IMAP may quote anything, and is not scanned at all.
global private rule not_genuine
{
    condition:
        verdict != "genuine"
}

rule chisel_tunnel : tunnel
{
    meta:
        id = "Y143401"
        title = "chisel: SSH inside a WebSocket"
        level = "high"
        family = "chisel"
        reference = "https://attack.mitre.org/techniques/T1572/"
        fires = "474554202f20485454502f312e310d0a557067726164653a20776562736f636b65740d0a5365632d576562536f636b65742d50726f746f636f6c3a2063686973656c2d76330d0a"
        silent = "5365632d576562536f636b65742d50726f746f636f6c3a20636861740d0a"
    strings:
        $protocol = /Sec-WebSocket-Protocol: *chisel-v[0-9]/ nocase
        $banner = /SSH-chisel-v[0-9]-(client|server)/
    condition:
        any of them
}

rule frp_login : tunnel
{
    meta:
        id = "Y143402"
        title = "frp: login message"
        level = "high"
        family = "frp"
        reference = "https://attack.mitre.org/techniques/T1572/"
        fires = "6f 0000000000000020 7b2276657273696f6e223a22302e35322e33222c226f73223a226c696e7578227d"
        silent = "6f 0000000000000020 6e6f206a736f6e"
    strings:
        $login = /[o1]\x00\x00\x00\x00\x00\x00[\x00-\x0f].\{"(version|hostname|os|arch|user|privilege_key|run_id|error)"/ // 64-bit length, then JSON
    condition:
        $login at 0 or ($login at 1 and uint8(0) == 0x17)
}

rule yamux_session : tunnel
{
    meta:
        id = "Y143403"
        title = "yamux: the first stream of a multiplexed tunnel"
        level = "medium"
        family = "yamux"
        reference = "https://attack.mitre.org/techniques/T1572/"
        sample = "yamux-tunnel"
        fires = "0001 0001 00000001 00000000 0000 0000 00000001 00000004 61626364"
        silent = "0001 0001 00000001 00000000 4142 4344"
    condition:
        // version 0, type data or window update, flag SYN, stream 1 or 2; then a second header of the same session
        filesize >= 24 and
        (uint32be(0) == 0x00010001 or uint32be(0) == 0x00000001) and (uint32be(4) == 1 or uint32be(4) == 2) and
        ((uint8(1) == 1 and uint32be(8) < 0x1000000 and uint8(12) == 0 and uint8(13) <= 3 and uint16be(14) <= 0x0f and
          (uint8(13) >= 2 or uint32be(16) == uint32be(4)))
         or
         (uint8(1) == 0 and uint32be(8) > 0 and uint32be(8) < 0x10000 and 24 + uint32be(8) <= filesize and
          uint8(12 + uint32be(8)) == 0 and uint8(13 + uint32be(8)) <= 3 and uint16be(14 + uint32be(8)) <= 0x0f and
          (uint8(13 + uint32be(8)) >= 2 or uint32be(16 + uint32be(8)) == uint32be(4))))
}

rule socks_request : tunnel
{
    meta:
        id = "Y143404"
        title = "SOCKS: a request to connect further"
        level = "high"
        family = "socks"
        reference = "https://attack.mitre.org/techniques/T1090/"
        sample = "socks-proxy"
        fires = "050100 05010001 c0000201 01bb"
        silent = "050100 05040001 c0000201 01bb"
    strings:
        $v4 = /\A\x04[\x01\x02].{2}[\x01-\xdf].{3}[!-~]{0,64}\x00(\x16\x03|[A-Z]{3}|$)/s
        $v4a = /\A\x04[\x01\x02].{2}\x00\x00\x00[^\x00][!-~]{0,64}\x00[A-Za-z0-9._-]{1,255}\x00/s
    condition:
        side == "client" and (
            $v4 or $v4a or
            (uint8(0) == 5 and uint8(1) >= 1 and uint8(1) <= 16 and
             // the request stands behind the greeting, or behind user name and password (RFC 1929)
             with after = 2 + uint8(1) : (
                with request = (after) : (
                    uint8(request) == 5 and uint8(request + 1) >= 1 and uint8(request + 1) <= 3 and uint8(request + 2) == 0 and
                    ((uint8(request + 3) == 1 and filesize >= request + 10) or
                     (uint8(request + 3) == 4 and filesize >= request + 22) or
                     (uint8(request + 3) == 3 and uint8(request + 4) > 0 and filesize >= request + 7 + uint8(request + 4)))) or
                (uint8(after) == 1 and uint8(after + 1) > 0 and
                 with request = after + 3 + uint8(after + 1) + uint8(after + 2 + uint8(after + 1)) : (
                    uint8(request) == 5 and uint8(request + 1) >= 1 and uint8(request + 1) <= 3 and uint8(request + 2) == 0 and
                    (uint8(request + 3) == 1 or uint8(request + 3) == 3 or uint8(request + 3) == 4)))))
        )
}

rule http_connect : tunnel
{
    meta:
        id = "Y143405"
        title = "HTTP CONNECT: a request to be connected further"
        level = "medium"
        family = "http-proxy"
        reference = "https://attack.mitre.org/techniques/T1090/"
        fires = "434f4e4e454354206d61696c2e6578616d706c652e636f6d3a34343320485454502f312e310d0a"
        silent = "434f4e4e45435420746f20746865207072696e746572"
    strings:
        $connect = /\ACONNECT [A-Za-z0-9.:\[\]_-]{1,255}:[0-9]{1,5} HTTP\/1\.[01]\r?\n/
    condition:
        side == "client" and $connect
}

rule openvpn_reset : tunnel
{
    meta:
        id = "Y143406"
        title = "OpenVPN over TCP: hard reset"
        level = "high"
        family = "openvpn"
        reference = "https://attack.mitre.org/techniques/T1572/"
        fires = "000e 38 a1b2c3d4e5f60718 00 00000000 0016 28 a1b2c3d4e5f60718 01000000001122334455667788"
        silent = "000e 39 a1b2c3d4e5f60718 00 00000000"
    condition:
        // 16-bit length, opcode and key id (client resets 0x38 and 0x50, server reset 0x40); then a legal opcode
        uint16be(0) >= 14 and uint16be(0) <= 120 and filesize >= 16 and
        ((side == "client" and (uint8(2) == 0x38 or uint8(2) == 0x50)) or (side == "server" and uint8(2) == 0x40)) and
        (filesize <= 4 + uint16be(0) or
         (uint16be(2 + uint16be(0)) > 0 and uint16be(2 + uint16be(0)) < 0x800 and
          (uint8(4 + uint16be(0)) & 0xf8) >= 0x18 and (uint8(4 + uint16be(0)) & 0xf8) <= 0x50))
}

rule netsupport_gateway : tunnel
{
    meta:
        id = "Y143407"
        title = "NetSupport Manager through a gateway"
        level = "high"
        family = "netsupport"
        reference = "https://attack.mitre.org/techniques/T1219/"
        fires = "504f535420687474703a2f2f3139322e302e322e312f66616b6575726c2e68746d20485454502f312e310d0a557365722d4167656e743a204e6574537570706f7274204d616e616765722f312e330d0a"
        silent = "557365722d4167656e743a204d6f7a696c6c612f352e300d0a"
    strings:
        $agent = "User-Agent: NetSupport Manager/"
        $server = "Server: NetSupport Gateway/"
        $command = /CMD=(POLL|ENCD|OPEN)\r?\n/
        $url = "/fakeurl.htm HTTP/1."
    condition:
        $agent or $server or ($command and $url)
}

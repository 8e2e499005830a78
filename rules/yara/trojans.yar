// Remote-access trojans whose wire structure can be checked beyond a magic: lengths that agree, frames that follow.
// Facts are from published analyses and public captures; the text of every rule is our own. See rules/README.md.
// `fires` and `silent` hold example bytes in hex; the tests feed them to the rule under the verdict not-imap.

// Holds for the whole file (a namespace of its own): genuine IMAP may quote anything, and is not scanned at all.
global private rule not_genuine
{
    condition:
        verdict != "genuine"
}

rule gh0st_frames : trojan
{
    meta:
        id = "Y143101"
        title = "Gh0st family: magic, frame length, inflated length, zlib"
        level = "critical"
        family = "gh0st"
        reference = "https://attack.mitre.org/software/S0032/"
        sample = "gh0st"
        fires = "4768307374 16000000 01000000 789c63000000010001"
        silent = "4768307374 ff000000 01000000 789c63000000010001"
    condition:
        filesize > 16 and
        // Variants change the magic (2 to 10 bytes of any kind) and the byte order, never the structure. A frame's
        // length must end at the next frame, or at the end of what was seen: magics alone fire on market data feeds.
        for any n in (2..10) : (
            (uint16be(n + 8) == 0x789c or uint16be(n + 8) == 0x78da or uint16be(n + 8) == 0x7801) and
            (
                (uint32(n) > n + 9 and uint32(n + 4) < 0x1000000 and uint32(n + 4) > 0 and
                 (uint32(n) == filesize or
                  (uint32(n) + n + 10 <= filesize and uint16be(uint32(n)) == uint16be(0) and
                   uint16be(uint32(n) + n + 8) == uint16be(n + 8)))) or
                (uint32be(n) > n + 9 and uint32be(n + 4) < 0x1000000 and uint32be(n + 4) > 0 and
                 (uint32be(n) == filesize or
                  (uint32be(n) + n + 10 <= filesize and uint16be(uint32be(n)) == uint16be(0) and
                   uint16be(uint32be(n) + n + 8) == uint16be(n + 8))))
            )
        )
}

rule njrat_fields : trojan
{
    meta:
        id = "Y143102"
        title = "njRAT: fields parted by |'|'|"
        level = "critical"
        family = "njrat"
        reference = "https://attack.mitre.org/software/S0385/"
        fires = "313132006c6c7c277c277c5347466a5332566b7c277c277c50437c277c277c75736572"
        silent = "47455420 2f7c277c277c 20 485454502f312e310d0a"
    strings:
        $counted = /\A[0-9]{1,7}\x00[A-Za-z]{1,16}\|'\|'\|/
        $old = /\Alv\|'\|'\|/
        $end = "[endof]"
    condition:
        $counted or ($old and $end)
}

rule darkcomet_challenge : trojan
{
    meta:
        id = "Y143103"
        title = "DarkComet: twelve hexadecimal characters as the challenge"
        level = "critical"
        family = "darkcomet"
        reference = "https://attack.mitre.org/software/S0334/"
        fires = "38454134414230354641374538454134414230354641"
        silent = "38454134414230354641374620686578"
    strings:
        $default = "8EA4AB05FA7E"
        $answer = /\A[0-9A-F]{12}([0-9A-F]{2})*#?KEEPALIVE\|?[0-9]{1,12}/
    condition:
        $default at 0 or $answer
}

rule nanocore_frames : trojan
{
    meta:
        id = "Y143104"
        title = "NanoCore: DES blocks in frames of eight, the first of 64 bytes"
        level = "high"
        family = "nanocore"
        reference = "https://attack.mitre.org/software/S0336/"
        fires = "40000000 a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90 08000000 9f8e7d6c5b4a3928 08000000 9f8e7d6c5b4a3928 10000000"
        silent = "40000000 00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000 09000000 9f8e7d6c5b4a3928 08000000 9f8e7d6c5b4a3928"
    condition:
        filesize >= 96 and uint32(0) == 0x40 and
        // three more frames, each of whole blocks, and among them the keep-alive of a single block
        with second = uint32(68) : (second > 0 and second % 8 == 0 and second < 0x1000 and
            with third = uint32(72 + second) : (third > 0 and third % 8 == 0 and third < 0x1000 and
                with fourth = uint32(76 + second + third) : (fourth > 0 and fourth % 8 == 0 and fourth < 0x100000 and
                    (second == 8 or third == 8 or fourth == 8)))) and
        // ciphertext: no long run of one byte, few equal neighbours
        for all i in (1..7) : (uint32be(i * 8) != 0 and uint32be(i * 8) != uint32be(i * 8 + 4))
}

rule netwire_login : trojan
{
    meta:
        id = "Y143105"
        title = "NetWire: login or its answer"
        level = "high"
        family = "netwire"
        reference = "https://attack.mitre.org/software/S0198/"
        fires = "4100000003 a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90 0100000081"
        silent = "4100000003 a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90 ffff000081"
    condition:
        (uint32(0) == 0x41 and filesize >= 69 and (uint8(4) == 0x03 or uint8(4) == 0x83 or uint8(4) == 0x99) and
         (filesize <= 73 or (uint32(69) > 0 and uint32(69) < 0x4000 and uint8(73) > 0) or
          (uint32(70) > 0 and uint32(70) < 0x4000 and uint8(74) > 0))) or
        (uint32(0) == 0x3f and filesize >= 67 and (uint8(4) == 0x05 or uint8(4) == 0x9b) and
         (filesize <= 71 or (uint32(67) > 0 and uint32(67) < 0x4000 and uint8(71) > 0) or
          (uint32(68) > 0 and uint32(68) < 0x4000 and uint8(72) > 0)))
}

rule remcos_frames : trojan
{
    meta:
        id = "Y143106"
        title = "Remcos: constant start of every frame"
        level = "critical"
        family = "remcos"
        reference = "https://attack.mitre.org/software/S0332/"
        fires = "2404ff0008000000 4b000000 61626364"
        silent = "2404ff00ffffff7f 4b000000"
    strings:
        $keystream_a = { 1b 84 d5 b0 5d f4 c4 93 c5 30 }  // RC4 of the clear-text header under keys seen in the wild
        $keystream_b = { f0 6a 83 a0 27 e1 1f 2a 9f 42 }
    condition:
        $keystream_a at 0 or $keystream_b at 0 or
        (uint32be(0) == 0x2404ff00 and uint32(4) >= 4 and uint32(4) < 0x1000000 and
         (8 + uint32(4) + 4 > filesize or uint32be(8 + uint32(4)) == 0x2404ff00))
}

rule warzone_header : trojan
{
    meta:
        id = "Y143107"
        title = "Ave Maria (Warzone): RC4 of the protocol's header under the default key"
        level = "high"
        family = "warzone"
        reference = "https://attack.mitre.org/software/S0670/"
        fires = "09123b42a1b2c3d4e5f60718"
        silent = "0009123b42a1b2c3d4e5f607"
    condition:
        filesize >= 12 and uint32be(0) == 0x09123b42
}

rule luminosity_packets : trojan
{
    meta:
        id = "Y143108"
        title = "LuminosityLink: packet marks in text"
        level = "critical"
        family = "luminositylink"
        reference = "https://attack.mitre.org/techniques/T1095/"
        fires = "434f4e4e 385f3d5f38 64617461 3d5034434b33543d"
        silent = "385f3d5f38 20 736d696c657973"
    strings:
        $field = "8_=_8"
        $packet = "=P4CK3T="
        $tail = "*-]NK[-*"
    condition:
        2 of them
}

rule imminent_hello : trojan
{
    meta:
        id = "Y143109"
        title = "Imminent Monitor: first frame"
        level = "high"
        family = "imminent"
        reference = "https://attack.mitre.org/software/S0434/"
        fires = "2c0000000200000001000c24 30303030"
        silent = "2c0000000200000001000c25"
    condition:
        uint32be(0) == 0x2c000000 and uint32be(4) == 0x02000000 and uint32be(8) == 0x01000c24
}

rule quasar_hello : trojan
{
    meta:
        id = "Y143110"
        title = "Quasar 1.x: first frame"
        level = "high"
        family = "quasar"
        reference = "https://attack.mitre.org/software/S0262/"
        fires = "10000000999ac7b8 00112233445566778899aabb"
        silent = "10000000999ac7b900112233445566778899aabb"
    condition:
        uint32be(0) == 0x10000000 and uint32be(4) == 0x999ac7b8
}

rule strrat_ping : trojan
{
    meta:
        id = "Y143111"
        title = "STRRAT: counted text frames"
        level = "critical"
        family = "strrat"
        reference = "https://attack.mitre.org/techniques/T1095/"
        fires = "34300d0a0d0a 70696e677c5354525241547c3141324233433444"
        silent = "34300d0a0d0a 70696e677c6f746865727c"
    strings:
        $frame = /\A[0-9]{1,6}\r\n\r\n[a-z-]{2,20}\|STRRAT\|/
    condition:
        $frame
}

rule adwind_hello : trojan
{
    meta:
        id = "Y143112"
        title = "Adwind: counted SHA-1 as the first message"
        level = "high"
        family = "adwind"
        reference = "https://attack.mitre.org/software/S0283/"
        fires = "0028 34366130613364653765313335653561616661633333306432363065623332333864346334306361"
        silent = "0028 4e6f7420612068617368206174206c6c2c20627574206120706c61696e2073656e74656e6365"
    strings:
        $hash = /\A\x00\x28[0-9a-f]{40}/
    condition:
        $hash
}

rule houdini_hello : trojan
{
    meta:
        id = "Y143113"
        title = "Houdini over TCP: hello"
        level = "critical"
        family = "houdini"
        reference = "https://attack.mitre.org/techniques/T1095/"
        fires = "0e000000 6e65775f686f7564696e690d0a"
        silent = "6d61676963 20 6e65775f 20 686f7564696e69"
    strings:
        $houdini = /new_(houdini|slave)\r\n/
    condition:
        $houdini in (0..8)
}

rule plugx_header : trojan
{
    meta:
        id = "Y143114"
        title = "PlugX over TCP: header of the first packet"
        level = "critical"
        family = "plugx"
        reference = "https://attack.mitre.org/software/S0013/"
        fires = "a1b2 50000100000000040000001000000000"
        silent = "a1b2 50000100000000050000001000000000"
    condition:
        uint32be(2) == 0x50000100 and uint32be(6) == 4 and uint32be(10) == 0x10
}

rule winnti_header : trojan
{
    meta:
        id = "Y143115"
        title = "Winnti: header"
        level = "critical"
        family = "winnti"
        reference = "https://attack.mitre.org/software/S0141/"
        fires = "cefaadde01000000 00112233"
        silent = "cefaadde02000000 00112233"
    condition:
        (uint32be(0) == 0xcefaadde and uint32(4) == 1) or
        (uint32be(0) == 0xffff0900 and uint32be(4) == 0x0000ffff)
}

rule derusbi_hello : trojan
{
    meta:
        id = "Y143116"
        title = "Derusbi: hello"
        level = "critical"
        family = "derusbi"
        reference = "https://attack.mitre.org/software/S0021/"
        fires = "2424242d2d48656c6c6f 00000000"
        silent = "2d2d2d48656c6c6f2d2d2d"
    strings:
        $begin = "$$$--Hello"
        $end = "Wrod--$$$"
    condition:
        $begin in (0..16) or $end in (0..64)
}

rule facefish_key_exchange : trojan
{
    meta:
        id = "Y143117"
        title = "Facefish: key exchange from the server"
        level = "high"
        family = "facefish"
        reference = "https://attack.mitre.org/techniques/T1573/002/"
        fires = "18000102 a1b2c3d4 00112233445566778899aabbccddeeff0011223344556677"
        silent = "18000102 a1b2c3d4"
    condition:
        // 16-bit length 24, command 0x201, CRC-32, then the 24 bytes
        side == "server" and filesize >= 32 and uint32be(0) == 0x18000102
}

rule ramnit_backconnect : trojan
{
    meta:
        id = "Y143118"
        title = "Ramnit: request to connect back"
        level = "critical"
        family = "ramnit"
        reference = "https://attack.mitre.org/techniques/T1090/"
        fires = "41424344 050005000001 7f0000010309"
        silent = "0500 05000001 7f000001 0050"
    strings:
        $request = { 05 00 05 00 00 01 7f 00 00 01 03 09 }
    condition:
        $request in (0..64)
}

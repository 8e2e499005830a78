// Code sent over the wire: stagers, shellcode, executables; and the frameworks that send it.
// The text of every rule is our own. `fires` and `silent`: see trojans.yar.

// Holds for the whole file (a namespace of its own): genuine IMAP may quote anything, and is not scanned at all.
global private rule not_genuine
{
    condition:
        verdict != "genuine"
}

rule windows_shellcode : stage
{
    meta:
        id = "Y143201"
        title = "Position-independent Windows code at the start of a stream"
        level = "critical"
        family = "metasploit"
        reference = "https://attack.mitre.org/techniques/T1105/"
        fires = "00300000 fce8820000006089e531d2648b5230"
        silent = "fce88200 0000 6089e531d2648b52"
    strings:
        $x86 = { fc e8 8? 00 00 00 60 89 e5 31 ?? 64 8b 5? 30 }
        $x86_new = { fc e8 8? 00 00 00 60 31 d2 89 e5 64 8b 52 30 }
        $x64 = { fc 48 83 e4 f0 e8 ?? 00 00 00 41 51 41 50 52 }
        $mz_x86 = { 4d 5a e8 00 00 00 00 5b 52 45 55 89 e5 }  // an executable whose header is code
        $mz_x64 = { 4d 5a 41 52 55 48 89 e5 48 }
    condition:
        // at the start, or behind the length that stagers read first
        for any of them : (@ == 0 or (@ == 4 and uint32(0) > 64 and uint32(0) < 0x2000000))
}

rule windows_executable : stage
{
    meta:
        id = "Y143202"
        title = "A Windows executable at the start of a stream"
        level = "high"
        family = "executable"
        reference = "https://attack.mitre.org/techniques/T1105/"
        sample = "stager"
        fires = "4d5a90000300000004000000ffff0000b8000000000000004000000000000000000000000000000000000000000000000000000000000000000000004000000050450000 6486"
        silent = "4d5a20697320746865206f6c64206d61726b206f662065786563757461626c65732061732065766572796f6e65206b6e6f7773206279206e6f772c2062757420746869732069732074657874"
    condition:
        (uint16be(0) == 0x4d5a and uint32(0x3c) < filesize and uint32be(uint32(0x3c)) == 0x50450000) or
        (uint16be(4) == 0x4d5a and uint32(0) > 256 and uint32(0) < 0x4000000 and
         uint32(0x40) < filesize and uint32be(uint32(0x40) + 4) == 0x50450000)
}

rule linux_executable : stage
{
    meta:
        id = "Y143203"
        title = "An ELF executable at the start of a stream"
        level = "high"
        family = "executable"
        reference = "https://attack.mitre.org/techniques/T1105/"
        fires = "7f454c4602010100000000000000000003003e0001000000"
        silent = "7f454c46 09010100 000000000000000003003e0001000000"
    strings:
        $header = { 7f 45 4c 46 (01 | 02) (01 | 02) 01 ?? ?? 00 00 00 00 00 00 00 (0? 00 | 00 0?) }
    condition:
        $header at 0 or ($header at 4 and uint32(0) > 64 and uint32(0) < 0x4000000)
}

rule python_stage : stage
{
    meta:
        id = "Y143204"
        title = "Encoded Python to be executed at once"
        level = "high"
        family = "script-stage"
        reference = "https://attack.mitre.org/techniques/T1059/006/"
        fires = "65786563285f5f696d706f72745f5f28277a6c696227292e6465636f6d7072657373285f5f696d706f72745f5f282762617365363427292e6236346465636f646528"
        silent = "5f5f696d706f72745f5f2827626173653634272920697320686f77206974207761732065786563757465642829"
    strings:
        $exec = /exec\(.{0,40}(zlib|base64|codecs|marshal).{0,60}(b64decode|decompress|decode|loads)/
    condition:
        $exec in (0..64)
}

rule powershell_stage : stage
{
    meta:
        id = "Y143205"
        title = "Encoded or downloading PowerShell"
        level = "high"
        family = "script-stage"
        reference = "https://attack.mitre.org/techniques/T1059/001/"
        fires = "706f7765727368656c6c202d6e6f70202d77202068696464656e202d656e63204a41426a414777416151426c4147344164414239"
        silent = "706f7765727368656c6c202d68656c70"
    strings:
        $encoded = /powershell(\.exe)?["']? [^\r\n]{0,120}-e(nc|ncodedcommand|c)? +['"]?[A-Za-z0-9+\/=]{20}/ nocase
        $download = /IEX *\(? *\(?New-Object +(System\.)?Net\.WebClient\)?\.Download(String|Data)/ nocase
        $unpack = /FromBase64String\([^\r\n]{0,200}(GzipStream|DeflateStream|MemoryStream)/ nocase
    condition:
        any of them
}

rule meterpreter_tlv : stage
{
    meta:
        id = "Y143206"
        title = "Meterpreter: a method name in type-length-value form"
        level = "critical"
        family = "metasploit"
        reference = "https://attack.mitre.org/techniques/T1095/"
        fires = "0000004f 00000000 0000001c 00010001 636f72655f6368616e6e656c5f6f70656e00"
        silent = "00010001 6368616e6e656c5f6f70656e"
    strings:
        $method = /\x00\x01\x00\x01(core|stdapi|priv)_[a-z_]{3,60}\x00/
    condition:
        $method in (0..128)
}

rule external_c2_options : stage
{
    meta:
        id = "Y143207"
        title = "Cobalt Strike External C2: options in counted frames"
        level = "critical"
        family = "cobalt-strike"
        reference = "https://attack.mitre.org/software/S0154/"
        fires = "08000000 617263683d783634 0f000000 706970656e616d653d666f6f62617221 02000000 676f"
        silent = "617263683d783634 20 706970656e616d653d666f6f"
    strings:
        $arch = /arch=x(86|64)/
        $pipe = "pipename="
        $block = /block=[0-9]{1,6}/
    condition:
        $arch in (4..64) and uint32(@arch - 4) == 8 and ($pipe in (4..160) or $block in (4..160))
}

rule manx_profile : stage
{
    meta:
        id = "Y143208"
        title = "Caldera manx: profile of the agent in JSON"
        level = "high"
        family = "caldera"
        reference = "https://attack.mitre.org/techniques/T1095/"
        fires = "7b22617263686974656374757265223a22616d643634222c226578655f6e616d65223a227465737422 2c226578656375746f7273223a5b5d7d"
        silent = "7b22617263686974656374757265223a22616d643634227d"
    strings:
        $open = /\A\s?\{ ?"(architecture|contact|exe_name|executors|host|paw|platform|ppid)": ?["\[0-9]/
        $key = /"(architecture|executors|exe_name|paw|ppid|privilege|upstream_dest|available_contacts)": ?/
    condition:
        $open and #key >= 3
}

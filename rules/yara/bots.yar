// Bots of small devices, and coin miners. The text of every rule is our own.

// Holds for the whole file (a namespace of its own): genuine IMAP may quote anything, and is not scanned at all.
global private rule not_genuine
{
    condition:
        verdict != "genuine"
}

rule mirai_hello : bot
{
    meta:
        id = "Y143501"
        title = "Mirai family: hello of a bot"
        level = "high"
        family = "mirai"
        reference = "https://attack.mitre.org/techniques/T1095/"
        fires = "00000001 04 74657374 0000 0000 0000"
        silent = "00000001 04 74657374 0102 0304"
    condition:
        // version 1, a counted id, then two-byte keep-alives and nothing else
        side == "client" and uint32be(0) == 1 and uint8(4) <= 32 and
        filesize >= 5 + uint8(4) and filesize < 2048 and
        (filesize == 5 + uint8(4) or
         (filesize >= 7 + uint8(4) and uint16be(5 + uint8(4)) == 0 and uint16be(filesize - 2) == 0))
}

rule device_bot_loader : bot
{
    meta:
        id = "Y143502"
        title = "Commands that load a bot onto a small device"
        level = "critical"
        family = "mirai"
        reference = "https://attack.mitre.org/techniques/T1105/"
        fires = "656e61626c650d0a7368656c6c0d0a2f62696e2f62757379626f782045434348490d0a"
        silent = "42757379426f782076312e33362e3120286d756c74692d63616c6c2062696e61727929"
    strings:
        $busybox = /\/bin\/busybox [A-Z]{4,10}\r?\n/
        $fetch = /(\/bin\/busybox |cd \/tmp[^\r\n]{0,80}; ?)(wget|tftp|curl|ftpget) [^\r\n]{4,200}(chmod|sh |\.\/)/
        $echo = /echo -n?e '?(\\\\?x[0-9a-f]{2}){8}/
    condition:
        any of them
}

rule gafgyt_report : bot
{
    meta:
        id = "Y143503"
        title = "Gafgyt family: report of a bot, or an order to it"
        level = "critical"
        family = "gafgyt"
        reference = "https://attack.mitre.org/techniques/T1095/"
        fires = "5b5368656c6c696e675d2d2d3e5b3139322e302e322e375d2d2d3e5b485454505d"
        silent = "5b5368656c6c696e675d20706561 73"
    strings:
        $report = /\[[A-Za-z0-9 ]{3,24}\]-{1,3}>\[[0-9.]{7,15}\]-{1,3}>\[/
        $order = /(\n|\A)!\* (SCANNER (ON|OFF)|UDP|TCP|HOLD|JUNK|STD|HTTP|KILLATTK|LOLNOGTFO)\b/
    condition:
        any of them
}

rule stratum_miner : miner
{
    meta:
        id = "Y143504"
        title = "Stratum: a coin miner signs in"
        level = "high"
        family = "stratum"
        reference = "https://attack.mitre.org/techniques/T1496/"
        fires = "7b226964223a312c226a736f6e727063223a22322e30222c226d6574686f64223a226c6f67696e222c22706172616d73223a7b226c6f67696e223a2278222c2270617373223a2278222c226167656e74223a22786d726967227d7d0a"
        silent = "7b226964223a312c226a736f6e727063223a22322e30222c226d6574686f64223a226c6f67696e227d0a"
    strings:
        $bitcoin = /"method": ?"mining\.(subscribe|authorize|notify|submit|set_difficulty)"/
        $login = /"method": ?"login"/
        $fields = /"(agent|algo|rigid|pass)": ?["\[]/
        $job = /"(seed_hash|blob|target)": ?"[0-9a-f]{8}/
    condition:
        uint8(0) == 0x7b and ($bitcoin or ($login and #fields >= 2) or #job >= 2)
}

// Interactive shells and the output of the commands that intruders type first.
// Mail may quote all of this: nothing here looks at genuine IMAP. The text of every rule is our own.

// Holds for the whole file (a namespace of its own): genuine IMAP may quote anything, and is not scanned at all.
global private rule not_genuine
{
    condition:
        verdict != "genuine"
}

rule windows_shell : shell
{
    meta:
        id = "Y143301"
        title = "A Windows command prompt"
        level = "critical"
        family = "shell"
        reference = "https://attack.mitre.org/techniques/T1059/003/"
        sample = "reverse-shell"
        fires = "4d6963726f736f66742057696e646f7773205b56657273696f6e2031302e302e31393034352e323936355d0d0a284329 204d6963726f736f667420436f72706f726174696f6e2e0d0a"
        silent = "4d6963726f736f66742057696e646f777320557064617465"
    strings:
        $banner = /Microsoft Windows (XP |2000 )?\[Version [0-9.]{3,20}\]/
        $prompt = /(\r\n|\A)[A-Z]:\\[^\r\n<>|"*?:]{0,120}>/
    condition:
        $banner in (0..256) or #prompt >= 2
}

rule powershell_prompt : shell
{
    meta:
        id = "Y143302"
        title = "A PowerShell prompt"
        level = "critical"
        family = "shell"
        reference = "https://attack.mitre.org/techniques/T1059/001/"
        fires = "505320433a5c55736572735c616c6963653e2077686f616d690d0a"
        silent = "505320433a20746865207072696e746572"
    strings:
        $running = "Windows PowerShell running as user"
        $prompt = /(\n|\A)PS [A-Z]:\\[^\r\n<>|"*?:]{0,120}> ?/
    condition:
        $running in (0..256) or $prompt
}

rule unix_shell : shell
{
    meta:
        id = "Y143303"
        title = "A Unix shell without a terminal"
        level = "critical"
        family = "shell"
        reference = "https://attack.mitre.org/techniques/T1059/004/"
        sample = "unix-shell"
        fires = "626173683a206e6f206a6f6220636f6e74726f6c20696e2074686973207368656c6c0a"
        silent = "7765206861766520206e6f206a6f6220636f6e74726f6c"
    strings:
        $no_job = /sh: no job control in this shell/
        $no_tty = "can't access tty; job control turned off"
        $group = /sh: cannot set terminal process group \(-?[0-9]{1,7}\)/
        $version_prompt = /(\n|\A)(ba)?sh-[0-9]\.[0-9]{1,2}[$#] /
        $id = /(\n|\A|[$#] )uid=[0-9]{1,10}\([a-z_][a-z0-9_.-]{0,31}\$?\) gid=[0-9]{1,10}\(/
    condition:
        any of them
}

rule reverse_shell_command : shell
{
    meta:
        id = "Y143304"
        title = "A command that opens a shell towards another host"
        level = "critical"
        family = "shell"
        reference = "https://attack.mitre.org/techniques/T1059/004/"
        fires = "62617368202d69203e26202f6465762f7463702f3139322e302e322e312f343434 3420303e2631"
        silent = "636174202f6465762f6e756c6c"
    strings:
        $dev_tcp = /\/dev\/(tcp|udp)\/[A-Za-z0-9.:-]{3,80}\/[0-9]{1,5}/
        $fifo = /mkfifo [^\r\n]{1,80}(nc|ncat|openssl|telnet) /
        $nc = /\bn(c|cat)(\.exe|\.traditional)? [^\r\n]{0,80}-e +(\/bin\/(ba|da)?sh|cmd(\.exe)?)/
        $python = /socket\.socket\([^\r\n]{0,200}(os\.dup2|subprocess\.(call|Popen)|pty\.spawn)\(/
    condition:
        any of them
}

rule reconnaissance_output : shell
{
    meta:
        id = "Y143305"
        title = "Output of commands that describe a Windows host"
        level = "high"
        family = "shell"
        reference = "https://attack.mitre.org/techniques/T1082/"
        fires = "0d0a57696e646f777320495020436f6e66696775726174696f6e0d0a0d0a0d0a45746865726e657420616461707465722045 3a0d0a2020204950763420416464726573732e202e202e202e3a203139322e302e322e37"
        silent = "57696e646f777320495020436f6e66696775726174696f6e20616e64206f74686572206d616e75616c73"
    strings:
        $ipconfig = /Windows IP Configuration[\s\S]{4,1200}(IPv4 |IP )Address[. ]{3,40}:/
        $systeminfo = /Host Name: {6,30}\S[^\r\n]*\r?\nOS Name: {6,30}/
        $tasklist = /Image Name +PID Session Name/
        $netstat = /Active Connections\r?\n\r?\n +Proto +Local Address/
        $volume = /Volume Serial Number is [0-9A-F]{4}-[0-9A-F]{4}/
        $net_user = /User accounts for \\\\[^\r\n]{1,64}\r?\n/
        $route = /IPv4 Route Table\r?\n={20}/
        $privileges = /PRIVILEGES INFORMATION\r?\n-{10}/
    condition:
        any of them
}

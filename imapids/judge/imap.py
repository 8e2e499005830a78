"""Judges a dialogue that went through the IMAP machine: genuine, mimic, or not enough to tell.

The order of the questions has reasons: first whatever real software never does (one certain sign outweighs any amount
of correct talk), then what was verified, then why it is not enough.
"""

from __future__ import annotations

from imapids.judge.places import at_start
from imapids.protocols.imap_sasl import MOST_ROUNDS
from imapids.records.candidates import Evidence
from imapids.records.dialogue import ImapFacts, SessionFacts, TlsFacts
from imapids.records.verdicts import Verdict

OPAQUE_TEXTS = 2
"""Encoded response texts that are no accident: one may be an id that a server puts into its greeting."""
OPAQUE_ARGUMENTS = 3
SILENT_COMMANDS = 3
"""Commands without completion after which a talking server is none: clients give up after one or two."""


def judge_imap(facts: SessionFacts, imap: ImapFacts) -> Verdict:
    """The verdict on a flow that starts like IMAP."""
    broken = _signs_of_mimicry(facts, imap)
    if broken:
        return _mimic(facts, imap, broken)
    if imap.starttls == "accepted":
        verdict = _after_starttls(facts, imap, facts.tls)
        if verdict is not None:
            return verdict
    return _genuine(facts, imap) or _undecided(facts, imap)


def protocol_name(imap: ImapFacts, tls: TlsFacts | None = None) -> str:
    """imap, imap+starttls or imap+compress."""
    if imap.compress == "active":
        return "imap+compress"
    return "imap+starttls" if imap.starttls == "accepted" and tls is not None and tls.client_hello else "imap"


# ---------------------------------------------------------------- mimic


def _signs_of_mimicry(facts: SessionFacts, imap: ImapFacts) -> list[Evidence]:
    """What real software does not do; empty where there is none (or where a gap might explain it)."""
    signs: list[Evidence] = []
    if facts.flow.sides_seen != "both":
        return signs

    def sign(code: str, side: str, text: str) -> None:
        known = [each for each in imap.evidence if each.code == code]
        signs.extend(known or [at_start(facts, code, side, text)])

    if imap.reversed_roles and facts.flow.roles_by == "syn":
        sign("client-sends-greeting", "client", "")
    if (
        imap.server_binary
        or imap.server_pending
        or imap.server_nonsense >= 2
        or (imap.server_nonsense and (imap.client_nonsense or not imap.completed))
    ):
        sign("server-line-is-no-imap", "server", "unfinished line")
    if imap.echoes >= 2:
        sign("server-echoes", "server", "")
    if imap.unmatched >= 2 or (imap.unmatched and not imap.completed):
        sign("answer-without-command", "server", "")
    if imap.impossible:
        sign("success-in-impossible-state", "server", "")
    if imap.before_login >= 2 or (imap.before_login and not imap.completed):
        sign("data-before-login", "server", "")
    if imap.literal_lies >= 2 or (imap.literal_lies and (imap.server_nonsense or not imap.completed_legal)):
        sign("literal-lies", "server", "")
    if imap.opaque_texts >= OPAQUE_TEXTS:
        sign("opaque-response-text", "server", "")
    if imap.opaque_arguments >= OPAQUE_ARGUMENTS or (imap.opaque_arguments and imap.opaque_texts):
        sign("opaque-argument", "client", "")
    if (
        imap.auth_rounds > MOST_ROUNDS
        and (imap.auth_open or imap.auth_rounds > 2 * MOST_ROUNDS)
        and imap.continuations > 1
    ):
        sign("authenticate-channel", "both", f"{imap.auth_rounds} turns")
    if _never_completes(facts, imap):
        sign("no-completions", "server", f"{imap.commands} commands, {imap.untagged} server lines")
    if imap.compress_broken in ("server", "both"):
        sign("no-deflate-after-compress", imap.compress_broken, "")
    if any(each.code == "sasl-layer-lies" for each in imap.evidence):
        sign("sasl-layer-lies", "both", "")
    return signs


def _never_completes(facts: SessionFacts, imap: ImapFacts) -> bool:
    """The server talks on while it completes none of several commands, though every byte of both sides was seen."""
    return (
        imap.commands >= SILENT_COMMANDS
        and not imap.completed
        and not imap.answers_to_nonsense
        and imap.untagged + imap.continuations >= SILENT_COMMANDS
        and not imap.midstream
        and not imap.byes
        and not imap.gaps_client
        and not imap.gaps_server
        and facts.flow.sides_seen == "both"
        and not imap.auth_open
        and not imap.literal_open
    )


def _mimic(facts: SessionFacts, imap: ImapFacts, signs: list[Evidence]) -> Verdict:
    started = bool(imap.greeting or imap.completed or imap.midstream or imap.reversed_roles)
    if not started and not imap.echoes:
        # never began like IMAP: no mimic, just not IMAP
        finding = facts.foreign.finding if facts.foreign is not None else None
        return Verdict(
            verdict="not-imap",
            confidence="high" if finding is not None else "medium",
            protocol=finding.protocol if finding is not None and not finding.by_client_only else None,
            shape=finding.shape if finding is not None else None,
            evidence=signs + (list(finding.evidence) if finding is not None else []),
        )
    codes = {sign.code for sign in signs}
    confidence = "high" if len(signs) > 2 or len(codes) > 1 else "medium"
    shape, extra = None, []
    finding = facts.foreign.finding if facts.foreign is not None else None
    if finding is not None:
        shape, extra = finding.shape, list(finding.evidence)
    elif codes & {"opaque-response-text", "opaque-argument"}:
        shape = "base64-lines"
    protocol = finding.protocol if finding is not None and finding.protocol else "imap"  # what it is, or plays
    return Verdict(verdict="mimic", confidence=confidence, protocol=protocol, shape=shape, evidence=signs + extra)


# ---------------------------------------------------------------- STARTTLS


def _after_starttls(facts: SessionFacts, imap: ImapFacts, tls: TlsFacts | None) -> Verdict | None:
    """After STARTTLS the handshake decides, and nothing behind it can be seen: at most medium."""
    if tls is None:
        return None
    if tls.client_hello and tls.server_hello and not tls.fake:
        text = " ".join(part for part in (tls.version, tls.sni) if part)
        known = Evidence("tls-after-starttls", "both", tls.hello_packet, tls.hello_offset, text)
        return Verdict(
            verdict="genuine",
            confidence="medium" if imap.greeting == "ok" else "low",
            protocol="imap+starttls",
            evidence=_support(facts, imap, [known]),
        )
    if not tls.broken or tls.gaps or imap.gaps_client or imap.gaps_server or facts.flow.sides_seen != "both":
        return None
    if facts.seen_server <= imap.bytes_server or (tls.alert_side == "server" and not tls.application_bytes_server):
        return None  # a broken hello that the server refuses, or does not answer: the client's conduct
    sound = tls.choice_offered and all(each.side != "server" for each in tls.evidence)
    if sound and tls.records_server and not tls.application_bytes_server:
        return None  # its part of a handshake is sound as far as it goes
    finding = facts.after_starttls.finding if facts.after_starttls is not None else None
    evidence = list(tls.evidence) or [Evidence("no-tls-after-starttls", "server", imap.upgrade_packet, 0, "")]
    return Verdict(
        verdict="mimic",
        confidence="high",
        protocol="imap",
        shape=finding.shape if finding is not None else None,
        evidence=evidence + (list(finding.evidence) if finding is not None else []),
    )


# ---------------------------------------------------------------- genuine


def _genuine(facts: SessionFacts, imap: ImapFacts) -> Verdict | None:
    """A valid greeting and a command with its completion; or as much as a partial capture can show."""
    one_sided = facts.flow.sides_seen != "both"
    gaps = imap.gaps_client + imap.gaps_server
    support: list[Evidence] = []
    if imap.completed:
        support.append(
            Evidence(
                "completions-match",
                "server",
                imap.completed_packet,
                imap.completed_offset,
                f"{imap.completed} of {imap.commands} commands",
            )
        )
    if imap.selected and imap.logins > imap.logins_failed and imap.completed_legal > 2:
        support.append(
            Evidence(
                "login-and-mailbox",
                "both",
                imap.completed_packet,
                imap.completed_offset,
                f"{imap.completed_legal} commands in legal states",
            )
        )
    if imap.inflated:
        support.append(Evidence("imap-inside-deflate", "both", imap.upgrade_packet, 0, ""))
    if imap.sasl_layer:
        support.append(Evidence("sasl-layer", "both", imap.sasl_packet, 0, f"{imap.sasl_frames} frames"))
    answered = imap.answers_to_nonsense + imap.refusals + (0 if imap.auth_rounds else imap.prompts)
    if not imap.completed and answered:
        support.append(at_start(facts, "answers-nonsense-correctly", "server", f"{answered} lines"))
    greeted = imap.greeting in ("ok", "preauth")
    protocol = protocol_name(imap, facts.tls)
    if greeted and not one_sided and (imap.completed or (answered and facts.seen_client)):
        sure = imap.completed_ok >= 2 and imap.completed_legal >= 2 and not gaps
        sure = sure and imap.starttls != "accepted" and not imap.sasl_layer  # what came then cannot be seen
        confidence = "high" if sure else "medium" if imap.completed else "low"
        return Verdict(
            verdict="genuine", confidence=confidence, protocol=protocol, evidence=_support(facts, imap, support)
        )
    if one_sided:
        return _half(facts, imap, protocol)
    if (imap.midstream or gaps) and imap.completed >= 1 and imap.known_commands:
        strong = imap.completed >= 3 or (imap.completed and imap.untagged >= 2)
        return Verdict(
            verdict="genuine",
            confidence="medium" if strong and not gaps else "low",
            protocol=protocol,
            evidence=_support(facts, imap, support),
        )
    if imap.midstream and imap.untagged >= 2 and (imap.tagged or imap.ordered_commands):
        return Verdict(verdict="genuine", confidence="low", protocol=protocol, evidence=_support(facts, imap, support))
    return None


def _half(facts: SessionFacts, imap: ImapFacts, protocol: str) -> Verdict | None:
    """One side of a conversation: low at most, and only where its grammar was shown at length."""
    if facts.flow.sides_seen == "server":
        if (imap.greeting or imap.midstream) and imap.tagged >= 2 and imap.untagged and (not imap.server_nonsense):
            text = f"{'greeting, ' if imap.greeting else ''}{imap.tagged} completions, {imap.untagged} data lines"
            return Verdict(
                verdict="genuine",
                confidence="low",
                protocol=protocol,
                evidence=_support(facts, imap, [at_start(facts, "server-half", "server", text)]),
            )
    elif imap.known_commands >= 4 and imap.ordered_commands >= 3 and not imap.client_nonsense:
        return Verdict(
            verdict="genuine",
            confidence="low",
            protocol=protocol,
            evidence=_support(
                facts, imap, [at_start(facts, "client-half", "client", f"{imap.known_commands} commands")]
            ),
        )
    return None


def _support(facts: SessionFacts, imap: ImapFacts, support: list[Evidence]) -> list[Evidence]:
    """Evidence for a genuine dialogue, with the greeting and what is odd about the client."""
    if imap.greeting:
        support.append(Evidence("greeting", "server", imap.greeting_packet, 0, imap.greeting_text))
    support.extend(imap.evidence)
    if imap.gaps_client or imap.gaps_server:
        support.append(at_start(facts, "gap", "both", f"client {imap.gaps_client}, server {imap.gaps_server}"))
    if imap.midstream:
        support.append(at_start(facts, "mid-stream", "both"))
    if imap.starttls == "accepted" and facts.tls is None:
        support.append(Evidence("starttls-unused", "client", imap.upgrade_packet, 0, ""))
    elif imap.starttls == "refused":
        support.append(Evidence("starttls-refused", "server", imap.upgrade_packet, 0, ""))
    return support


# ---------------------------------------------------------------- undecided


def _undecided(facts: SessionFacts, imap: ImapFacts) -> Verdict:
    """Why what was seen is not enough; the first reason that holds."""
    flow = facts.flow
    evidence = _support(facts, imap, [])
    if flow.sides_seen != "both":
        reason = "one-sided"
        evidence.append(at_start(facts, "one-sided", flow.sides_seen, flow.sides_seen))
    elif not facts.seen_server:
        reason = "server-silent"
        evidence.append(Evidence("server-silent", "server", facts.first_packet_client, 0, ""))
    elif flow.snapped:
        reason = "snaplen"
    elif imap.gaps_client or imap.gaps_server:
        reason = "gap"
    elif imap.midstream:
        reason = "mid-stream"
    elif imap.greeting and not imap.completed:
        reason = "greeting-only"
        evidence.append(Evidence("greeting-only", "server", imap.greeting_packet, 0, imap.greeting_text))
    else:
        reason = "too-short"
    return Verdict(
        verdict="undecided",
        confidence="low",
        protocol=None if reason == "server-silent" else "imap",
        reason=reason,
        evidence=evidence,
    )

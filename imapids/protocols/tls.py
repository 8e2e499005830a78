"""TLS on the wire (RFC 8446, RFC 5246, and SSL 3.0 and 2.0 before them): records, names of versions and alerts."""

from __future__ import annotations

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT = 20, 21, 22, 23, 24
"""Content types of records (RFC 8446 section 5.1, RFC 6520)."""

CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, SERVER_HELLO_DONE, FINISHED = 1, 2, 11, 14, 20
HANDSHAKE_TYPES = frozenset({0, 1, 2, 3, 4, 5, 8, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 24, 25, 67})
"""All that IANA's registry names below 254, which are messages that stand in clear before encryption or may."""

RECORD_HEADER_BYTES = 5
MAX_RECORD_BYTES = 16_384 + 2_048
"""RFC 5246 section 6.2.3: the longest body that a record may announce (RFC 8446 allows 256 over 2^14)."""

VERSION_NAMES = {0x0002: "SSLv2", 0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2",
                 0x0304: "TLS 1.3"}
"""As Suricata writes them in EVE."""

ALERTS = {  # RFC 8446 section 6, RFC 5246 section 7.2 and the extensions that IANA lists
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed", 22: "record_overflow",
    30: "decompression_failure", 40: "handshake_failure", 41: "no_certificate", 42: "bad_certificate",
    43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
    47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error", 51: "decrypt_error",
    60: "export_restriction", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
    86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
    110: "unsupported_extension", 111: "certificate_unobtainable", 112: "unrecognized_name",
    113: "bad_certificate_status_response", 114: "bad_certificate_hash_value", 115: "unknown_psk_identity",
    116: "certificate_required", 120: "no_application_protocol", 121: "ech_required",
}

GREASE = frozenset(0x0A0A + 0x1010 * step for step in range(16))
"""Values that clients send so that servers learn to skip what they do not know (RFC 8701)."""


def version_name(version: int) -> str:
    """Name of a version number; drafts of TLS 1.3 by their number, others in hex."""
    if version >> 8 == 0x7F:
        return f"TLS 1.3 draft-{version & 0xFF}"
    return VERSION_NAMES.get(version, f"0x{version:04x}")


def alert_name(description: int) -> str:
    """Name of an alert's description."""
    return ALERTS.get(description, f"alert_{description}")


def is_record_header(data: bytes, position: int = 0) -> bool:
    """Whether the five bytes at `position` can begin a record: type, version 3.x, a length that is allowed.

    Only application data may be empty (RFC 8446 section 5.1; OpenSSL's countermeasure against BEAST sends such).
    """
    kind, length = data[position], data[position + 3] << 8 | data[position + 4]
    return (
        CHANGE_CIPHER_SPEC <= kind <= HEARTBEAT
        and data[position + 1] == 3
        and data[position + 2] <= 4
        and length <= MAX_RECORD_BYTES
        and (length > 0 or kind == APPLICATION_DATA)
    )

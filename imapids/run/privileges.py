"""Giving up rights: after the interface is open and before the first packet is read, nothing is left to take over.

Sources: capabilities(7), prctl(2), landlock(7), setrlimit(2), the kernel's include/uapi/linux/landlock.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import pwd
import resource
import struct
from pathlib import Path

import msgspec

from imapids.errors import UsageError
from imapids.protocols.text import safe_str

DEFAULT_USER = "nobody"

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_SET_DUMPABLE = 24, 38, 47, 4
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITIES = 64
"""More than any kernel knows: one that it does not know ends the list."""
_CAPABILITY_VERSION_3 = 0x2008_0522
_CAPSET = {"x86_64": 126, "aarch64": 91, "riscv64": 91, "i686": 185, "armv7l": 185, "ppc64le": 184, "s390x": 185}
"""System call numbers (asm/unistd.h)."""
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION_FLAG = 1
_RULE_PATH, _RULE_PORT = 1, 2

_FS_EXECUTE, _FS_WRITE_FILE, _FS_READ_DIR = 1 << 0, 1 << 1, 1 << 3
_FS_CHANGES = sum(1 << bit for bit in range(4, 13))
"""REMOVE_DIR, REMOVE_FILE, MAKE_CHAR .. MAKE_SYM."""
_FS_REFER, _FS_TRUNCATE, _FS_IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FS_IN_FOLDER = _FS_WRITE_FILE | 1 << 5 | 1 << 8 | _FS_REFER | _FS_TRUNCATE
"""Write, REMOVE_FILE, MAKE_REG: what rotation needs; no links, devices, folders."""
_NET_BIND, _NET_CONNECT = 1, 2
_SCOPES = 3
"""No abstract unix sockets and no signals beyond this process and its children (ABI 6)."""

_DESCRIPTORS = 256


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may still do."""

    user: str = DEFAULT_USER
    """Whom to become, where the process is root."""
    stay_root: bool = False
    folders: tuple[str, ...] = ()
    """Folders in which files may be made, written, renamed and removed."""
    files: tuple[str, ...] = ()
    """Files that may be written."""
    ports: tuple[int, ...] = ()
    """TCP ports that may be connected to."""


class Dropped(msgspec.Struct, kw_only=True):
    """What was given up."""

    user: str
    landlock: int = 0
    """The version of Landlock that restricts the process; 0 where the kernel has none."""


def look_up_user(rights: Rights) -> tuple[int, int] | None:
    """User and group to become; None where the process is not root, or is to stay root.

    Raises:
        UsageError: there is no such user, or it is root.
    """
    if os.geteuid() != 0 or rights.stay_root:
        return None
    try:
        entry = pwd.getpwnam(rights.user)
    except (KeyError, ValueError) as error:
        raise UsageError(f"--user {safe_str(rights.user)}: there is no such user.") from error
    if entry.pw_uid == 0:
        raise UsageError("--user root: packets are not parsed as root; --allow-root insists on it.")
    return entry.pw_uid, entry.pw_gid


def drop(rights: Rights) -> Dropped:
    """Gives up everything that a run does not need: user, groups, capabilities, new privileges, writing elsewhere.

    The sockets, files and memory that are open stay usable.

    Raises:
        UsageError: it is not possible; nothing must be parsed then.
    """
    identity = look_up_user(rights)
    libc = ctypes.CDLL(None, use_errno=True)
    if identity is not None:
        _forget_capabilities_for_ever(libc)
        os.setgroups([])
        os.setresgid(identity[1], identity[1], identity[1])
        os.setresuid(identity[0], identity[0], identity[0])
    if not rights.stay_root or os.geteuid() != 0:
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)  # before Linux 4.3 there are none
        _clear_capabilities(libc)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise UsageError(f"privileges cannot be given up: {os.strerror(ctypes.get_errno())}")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core holds passwords
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    most = min(_DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return Dropped(user=pwd_name(os.geteuid()), landlock=_restrict(libc, rights))


def forbid_new_processes() -> None:
    """No process and no thread can be made any more: called when all of them run. (Root is not bound by it.)"""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def effective_capabilities() -> int:
    """The capabilities that count now, as bits."""
    for line in Path("/proc/self/status").read_bytes().splitlines():  # bytes: a codec may be out of reach by now
        if line.startswith(b"CapEff:"):
            return int(line.split()[1], 16)
    return 0


def pwd_name(uid: int) -> str:
    """The name of a user, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _forget_capabilities_for_ever(libc: ctypes.CDLL) -> None:
    """Empties the bounding set, so that no program that is started could get any."""
    for number in range(_CAPABILITIES):
        if libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0):
            if ctypes.get_errno() == errno.EINVAL:
                return
            if ctypes.get_errno() == errno.EPERM:  # no CAP_SETPCAP: a container's root; the sets below are cleared
                return


def _clear_capabilities(libc: ctypes.CDLL) -> None:
    """Clears the permitted, effective and inheritable sets, which a start by systemd or setcap may have filled."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    number = _CAPSET.get(os.uname().machine)
    failed = -1 if number is None else libc.syscall(number, header, bytes(24))
    if failed and effective_capabilities():
        raise UsageError("capabilities cannot be given up on this system; --allow-root goes on with them.")


def _restrict(libc: ctypes.CDLL, rights: Rights) -> int:
    """Landlock: no writing outside of the folders and files, no programs, no TCP but to the ports; the ABI version."""
    version: int = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), _LANDLOCK_VERSION_FLAG)
    if version < 1:
        return 0
    handled = _FS_EXECUTE | _FS_WRITE_FILE | _FS_CHANGES
    handled |= (_FS_REFER if version >= 2 else 0) | (_FS_TRUNCATE if version >= 3 else 0)
    handled |= _FS_IOCTL_DEV if version >= 5 else 0
    net = _NET_BIND | _NET_CONNECT if version >= 4 else 0
    scopes = _SCOPES if version >= 6 else 0
    attribute = struct.pack("QQQ", handled, net, scopes)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    ruleset = libc.syscall(_LANDLOCK_CREATE, attribute, ctypes.c_size_t(len(attribute)), 0)
    if ruleset < 0:
        return 0
    try:
        for paths, access in ((rights.folders, _FS_IN_FOLDER), (rights.files, _FS_WRITE_FILE | _FS_TRUNCATE)):
            for path in paths:
                _allow_path(libc, ruleset, path, access & handled)
        for port in rights.ports if net else ():
            libc.syscall(_LANDLOCK_ADD, ruleset, _RULE_PORT, struct.pack("QQ", _NET_CONNECT, port), 0)
        return 0 if libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) else version
    finally:
        os.close(ruleset)


def _allow_path(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
    with contextlib.suppress(OSError):  # not there: there is nothing to allow
        handle = os.open(path or ".", os.O_PATH | os.O_CLOEXEC)
        try:
            libc.syscall(_LANDLOCK_ADD, ruleset, _RULE_PATH, struct.pack("=Qi", access, handle), 0)
        finally:
            os.close(handle)


def may_write(folder: str) -> bool:
    """Whether this process can make files in a folder now."""
    return os.access(folder or ".", os.W_OK | os.X_OK)

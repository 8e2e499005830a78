"""An inventory file: what the site says that it has, in YAML; every fault is told at once with file and line."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any

from imapids.detect.rule_files import FILE_BYTES, Document, Fault, Path_, RuleFile, parse
from imapids.errors import RuleError
from imapids.observe import Allowed
from imapids.protocols.text import safe_str

ANYBODY = ("0.0.0.0/0", "::/0")
"""What the word `any` among clients stands for."""
_KEYS = ("servers", "ports", "clients", "protocols", "clear_sign_in", "note")


def read_inventory(path: Path) -> tuple[Allowed, ...]:
    """The entries of an inventory file (docs/reference/exposure-sheet.md has its format).

    Raises RuleError where it cannot be read, or is wrong; all faults are told.
    """
    name = safe_str(str(path), 400)
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise RuleError([f"{name}: cannot be read: {error.strerror}"]) from error
    faults: list[Fault] = []
    entries: list[Allowed] = []
    if len(data) > FILE_BYTES:
        faults.append(Fault(name, 0, f"is longer than {FILE_BYTES >> 10} KiB"))
    else:
        for document in parse(RuleFile(name, data), faults):
            entries += _Reader(document, faults).entries()
    if not faults and not entries:
        faults.append(Fault(name, 1, "names no service: write `services:` and a list"))
    if faults:
        raise RuleError([str(fault) for fault in faults])
    return tuple(entries)


class _Reader:
    """Reads one document."""

    def __init__(self, document: Document, faults: list[Fault]) -> None:
        self._document = document
        self._faults = faults
        self._named: dict[str, tuple[str, ...]] = {"any": ANYBODY}

    def entries(self) -> list[Allowed]:
        """The services, as far as they are right."""
        content = self._document.content
        for key in content:
            if key not in ("services", "networks"):
                self._wrong((key,), f'unknown key "{safe_str(str(key), 40)}": there are services and networks')
        networks = content.get("networks") or {}
        if not isinstance(networks, dict):
            self._wrong(("networks",), "networks must give names to lists of networks")
            networks = {}
        for name, several in networks.items():
            self._named[str(name)] = self._networks(("networks", name), several)
        services = content.get("services") or []
        if not isinstance(services, list):
            self._wrong(("services",), "services must be a list")
            return []
        return [entry for number, service in enumerate(services)
                for entry in self._service(("services", number), service)]

    def _wrong(self, path: Path_, message: str) -> None:
        self._faults.append(Fault(self._document.file, self._document.line(*path), message))

    def _service(self, path: Path_, service: Any) -> list[Allowed]:
        if not isinstance(service, dict):
            self._wrong(path, f"a service must be a mapping with {', '.join(_KEYS)}")
            return []
        for key in service:
            if key not in _KEYS:
                self._wrong((*path, key), f'unknown key "{safe_str(str(key), 40)}": there are {", ".join(_KEYS)}')
        servers = self._networks((*path, "servers"), service.get("servers"))
        clients = self._networks((*path, "clients"), service.get("clients") or [])
        ports = self._ports((*path, "ports"), service.get("ports"))
        protocols = service.get("protocols") or []
        if not isinstance(protocols, list) or not all(isinstance(each, str) for each in protocols):
            self._wrong((*path, "protocols"), "protocols must be a list of names, such as [imap, tls]")
            protocols = []
        clear = service.get("clear_sign_in", False)
        if not isinstance(clear, bool):
            self._wrong((*path, "clear_sign_in"), "clear_sign_in must be true or false")
        if not servers or not ports:
            if "servers" not in service or "ports" not in service:
                self._wrong(path, "a service needs servers and ports")
            return []
        return [Allowed(servers=servers, ports=numbers, transport=transport, clients=clients,
                        protocols=tuple(protocols), clear_sign_in=clear is True,
                        note=safe_str(str(service.get("note") or ""), 200))
                for transport, numbers in ports.items()]

    def _networks(self, path: Path_, several: Any) -> tuple[str, ...]:
        """Networks as normal text; names of the file stand for theirs."""
        found: list[str] = []
        for item in several if isinstance(several, list) else [several] if several is not None else []:
            if isinstance(item, str) and item in self._named:
                found += self._named[item]
                continue
            try:
                if not isinstance(item, str):
                    raise ValueError(item)
                found.append(str(ipaddress.ip_network(item, strict=False)))
            except ValueError:
                self._wrong(path, f"{safe_str(repr(item), 60)} is no address, network or name of one "
                            f"(names: {', '.join(self._named)})")
        return tuple(found)

    def _ports(self, path: Path_, several: Any) -> dict[str, tuple[int, ...]]:
        """Ports by transport."""
        found: dict[str, list[int]] = {}
        for item in several if isinstance(several, list) else [several] if several is not None else []:
            match = re.fullmatch(r"(\d{1,5})(?:/(tcp|udp))?", str(item).strip().lower())
            if not match or isinstance(item, bool) or not 0 < int(match[1]) < 65_536:
                self._wrong(path, f"{safe_str(repr(item), 60)} is no port: write 143, 993 or 143/udp")
                continue
            found.setdefault(match[2] or "tcp", []).append(int(match[1]))
        return {transport: tuple(numbers) for transport, numbers in found.items()}

"""Wireshark display filters for what an alert is about (wireshark-filter(4)); made of addresses and ports only."""

from __future__ import annotations

import functools

from imapids.records.streams import Flow

_SERVERS = 1_024
"""Servers whose filter is remembered: many alerts are about the same ones."""


def of_flow(flow: Flow) -> str:
    """The packets of one conversation."""
    return _all(_address(flow.client), _address(flow.server), _port(flow, flow.client_port),
                _port(flow, flow.server_port))


def of_pair(flow: Flow) -> str:
    """What client and server exchange on the server's port, in all their conversations."""
    if flow.client == flow.server:
        return of_server(flow)
    return f"{_address(flow.client)} && {of_server(flow)}"


def of_client(flow: Flow, *, any_port: bool = False) -> str:
    """What a client does with servers of that port; with `any_port`, everything that it does."""
    return _all(_address(flow.client), "" if any_port else _port(flow, flow.server_port))


def of_server(flow: Flow) -> str:
    """What a server does on its port, with everybody."""
    return _of_port(flow.protocol, flow.server, flow.server_port)


@functools.lru_cache(_SERVERS)
def _of_port(protocol: str, address: str, port: int) -> str:
    return f"{_address(address)} && {protocol.lower()}.port == {port}"


def _all(*parts: str) -> str:
    different = dict.fromkeys(parts)
    different.pop("", None)
    return " && ".join(different)


def _address(address: str) -> str:
    return f"{'ipv6' if ':' in address else 'ip'}.addr == {address}"


def _port(flow: Flow, port: int) -> str:
    return f"{flow.protocol.lower()}.port == {port}"

"""The names of the headers that decode strips."""

from __future__ import annotations

import enum


class Header(enum.IntEnum):
    """What stands at `Rows.at`: the name of the header to strip next."""

    UNKNOWN = 0
    ETHERNET = 1
    LLC = 2
    IP = 3
    PPP = 4
    PPPOE = 5
    MPLS = 6
    PBB = 7
    FABRICPATH = 8
    TRILL = 9
    NSH = 10
    WLAN = 11
    RADIOTAP = 12
    GRE = 13
    ERSPAN_III = 14
    VXLAN = 15
    GENEVE = 16
    GTP_U = 17
    TEREDO = 18
    L2TP = 19
    CAPWAP = 20
    WCCP = 21
    TZSP = 22
    VXLAN_GPE = 23
    LISP = 24
    ODD_IP = 25

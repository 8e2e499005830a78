"""Link layers: which number in which header says that an IP packet follows, and how many bytes stand before it.

Sources: the LINKTYPE_ registry of tcpdump.org, IEEE 802.3, 802.1Q, 802.1ah, 802.1BR, 802.11, RFC 1661 (PPP),
RFC 2516 (PPPoE), RFC 1042 (SNAP), RFC 1188 (FDDI), RFC 1201 (ARCNET), RFC 4391 (IP over InfiniBand).
"""

from __future__ import annotations

# --- EtherTypes (IEEE registration authority) ---

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_IPV6 = 0x86DD
ETHERTYPE_VLAN = 0x8100
ETHERTYPE_BRIDGED = 0x6558
"""Transparent Ethernet bridging: an Ethernet frame follows (RFC 1701, GRE; RFC 8926, Geneve)."""
ETHERTYPE_MPLS = 0x8847
ETHERTYPE_MPLS_MULTICAST = 0x8848
ETHERTYPE_PPPOE = 0x8864
ETHERTYPE_PBB = 0x88E7
ETHERTYPE_FABRICPATH = 0x8903
ETHERTYPE_TRILL = 0x22F3
ETHERTYPE_NSH = 0x894F
ETHERTYPE_PPP = 0x880B
ETHERTYPE_ERSPAN = 0x88BE
ETHERTYPE_ERSPAN_III = 0x22EB
ETHERTYPE_WCCP = 0x883E
LENGTH_MAX = 1500
"""IEEE 802.3 clause 3.2.6: a value up to this is the length of an LLC frame, from 1536 on it is a type."""

VLAN_TYPES = (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)
"""802.1Q, 802.1ad and the numbers that vendors used for stacked tags before it."""

TAG_BYTES = {
    **dict.fromkeys(VLAN_TYPES, 2),
    0x8926: 4,  # VN-Tag (Cisco; proposed for 802.1Qbh)
    0x893F: 6,  # E-Tag (802.1BR)
    0x892F: 4,  # HSR (IEC 62439-3): path and size, sequence number
    0x8909: 6,  # Cisco MetaData (security group tags)
}
"""Bytes of a tag between its own EtherType and the next one."""

ETHERTYPE_NAMES = {
    0x0806: "arp", 0x8035: "rarp", 0x2000: "cdp", 0x8137: "ipx", 0x809B: "appletalk", 0x80F3: "appletalk-arp",
    0x8808: "ethernet-pause", 0x8809: "slow-protocols", 0x8863: "pppoe-discovery", 0x888E: "eapol", 0x88CC: "lldp",
    0x88E5: "macsec", 0x88F7: "ptp", 0x8902: "cfm", 0x9000: "loopback-test", 0x886F: "nlb", 0x8899: "realtek",
    0x2001: "nhrp", 0x88B8: "goose", 0x8892: "profinet", 0x88A4: "ethercat",
}
"""Names under which frames without an IP packet are counted."""

# --- LLC (IEEE 802.2) ---

SAP_SNAP = 0xAAAA
SAP_IP = 0x0606
SAP_ISO = 0xFEFE
SAPS = (SAP_SNAP, SAP_IP, SAP_ISO, 0x4242, 0xE0E0, 0xF0F0, 0xFFFF)
"""Pairs of service access points in use: SNAP, IP, ISO, spanning tree, IPX, NetBIOS, Novell's raw frames."""
NLPID_IPV4, NLPID_IPV6, NLPID_SNAP = 0xCC, 0x8E, 0x80
SNAP_ETHERTYPE_OUIS = (0x000000, 0x0000F8)
"""RFC 1042 and IEEE 802.1H: an EtherType follows the OUI."""
SNAP_CISCO_OUI, SNAP_CISCO_TYPES = 0x00000C, (0x2000, 0x2003, 0x2004, 0x010B, 0x0111)
"""CDP, VTP, DTP, PVST+ and UDLD: control frames of switches."""
SNAP_BRIDGED_OUI = 0x0080C2
"""RFC 2684 section 5.2: 0x0001 and 0x0007 are Ethernet frames with and without FCS, after two bytes of padding."""

# --- PPP (RFC 1661 and the IANA list of PPP numbers) ---

PPP_IPV4, PPP_IPV6, PPP_MPLS, PPP_MULTILINK, PPP_BRIDGED = 0x0021, 0x0057, 0x0281, 0x003D, 0x0031
PPP_NAMES = {0x002D: "ppp-compressed-header", 0x002F: "ppp-compressed-header", 0x00FD: "ppp-compressed",
             0x00FB: "ppp-compressed", 0x0053: "ppp-encrypted"}

# --- Linux cooked captures (LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2) ---

SLL_802_3, SLL_802_2 = 0x0001, 0x0004
ARPHRD_NETLINK, ARPHRD_GRE, ARPHRD_RADIOTAP, ARPHRD_WLAN = 824, 778, 803, 801

# --- LINKTYPE_ numbers ---

NULL, ETHERNET, TOKEN_RING, ARCNET, SLIP, PPP, FDDI = 0, 1, 6, 7, 8, 9, 10
PPP_HDLC, PPP_ETHER, ATM_RFC1483 = 50, 51, 100
RAW_NUMBERS = (12, 14, 101, 228, 229)
C_HDLC, WLAN, FRAME_RELAY, LOOP, ENC, SLL, PFLOG, PRISM, IPFC = 104, 105, 107, 108, 109, 113, 117, 119, 122
RADIOTAP, ARCNET_LINUX, APPLE_1394, WLAN_AVS, PPP_PPPD = 127, 129, 138, 163, 166
JUNIPER_ETHER, JUNIPER_PPP, JUNIPER_FRAME_RELAY, JUNIPER_C_HDLC = 178, 179, 180, 181
PPI, ERF, PPP_WITH_DIRECTION, IPNET, NFLOG, NETANALYZER, NETANALYZER_RAW = 192, 197, 204, 226, 239, 240, 241
IPOIB, PKTAP, MPACKET, SLL2 = 242, 258, 274, 276

NFLOG_PAYLOAD = 9
"""Type of the NFLOG TLV that holds the packet (nfnetlink_log.h NFULA_PAYLOAD)."""

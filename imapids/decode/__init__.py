"""From columns of frames to columns of TCP and UDP segments: link layers, tunnels, IP, fragments, transport.

All packets that have the same header next are stripped of it together, round by round; no Python object stands
for a packet, except for IP fragments and ICMP errors, which are rare and bounded.
"""

from imapids.decode.decoder import Decoder

__all__ = ["Decoder"]

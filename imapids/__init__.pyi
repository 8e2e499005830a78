from imapids import plots as plots
from imapids.api import Scan as Scan
from imapids.api import load as load
from imapids.api import read_pcap as read_pcap
from imapids.api import scan_pcap as scan_pcap
from imapids.desk.analysis import Analysis as Analysis

__all__ = ["Analysis", "Scan", "__version__", "load", "plots", "read_pcap", "scan_pcap"]

__version__: str

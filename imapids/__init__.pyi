from imapids import plots as plots
from imapids.api import Scan as Scan
from imapids.api import Watch as Watch
from imapids.api import load as load
from imapids.api import read_pcap as read_pcap
from imapids.api import scan_pcap as scan_pcap
from imapids.api import watch_interface as watch_interface
from imapids.desk.analysis import Analysis as Analysis

__all__ = ["Analysis", "Scan", "Watch", "__version__", "load", "plots", "read_pcap", "scan_pcap", "watch_interface"]

__version__: str

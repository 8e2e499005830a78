"""The report of a run: one HTML file that needs no network and runs nothing but its own small script."""

from imapids.desk.report.sink import HtmlReport, write_report

__all__ = ["HtmlReport", "write_report"]

"""Writes rules/compiled.json: the compiled form of the shipped rules, so that a plain run never imports pySigma.

Run it after every change of a rule: python rules/compile.py (a test fails while the file is older than the rules).
"""

from pathlib import Path

from imapids.detect.loading import COMPILED_NAME, compile_shipped

if __name__ == "__main__":
    Path(__file__).with_name(COMPILED_NAME).write_bytes(compile_shipped())

"""The rule in rules/README.md works as it stands there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from helpers.rules import event

from imapids.detect import Detector, load_rules
from imapids.detect.loading import SHIPPED
from imapids.detect.tools import check


def test_the_first_rule_of_the_guide_passes_check_and_fires(tmp_path: Path) -> None:
    text = (SHIPPED / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "first.yml"
    path.write_text(textwrap.dedent("   " + block.lstrip()))
    assert [str(fault) for fault in check([path])] == []
    detector = Detector(load_rules([path], defaults=False, cache=tmp_path / "cache"))
    alerts = detector.feed([event("session", verdict="not-imap", protocol="ssh")])
    assert [alert.rule.name for alert in alerts] == ["ssh_on_mail_port"]

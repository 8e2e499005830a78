"""The shell asks the program itself what may follow (docs/how-to/shell-completion.md)."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("words", "expected"), [
    pytest.param("imapids ex", {"explain", "exposure", "extract"}, id="commands"),
    pytest.param("imapids analyze --form", {"--format"}, id="options of a command"),
    pytest.param("imapids rules ch", {"check"}, id="commands of a group"),
])
def test_words_complete(words, expected):
    asked = {"_IMAPIDS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    program = "import sys; from imapids.__main__ import main; sys.argv = ['imapids']; main()"
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | asked, capture_output=True, text=True,
                          check=False)
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == expected

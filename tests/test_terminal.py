"""What commands print: as wide as the terminal, and plain text in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from tests.conftest import ROOT

SENTENCE = "A sentence of more than eighty letters, which is told as it is to a pipe and in two lines to a terminal."
SCRIPT = f"""
from stages.terminal import say, table
say({SENTENCE!r}, "b[1] 0.5")
table(["class", "slope"], [["of a long name " * 8, "1.25"]])
"""
COMMAND = [sys.executable, "-c", SCRIPT]
COLUMNS = 80


@pytest.fixture(scope="module")
def shown() -> str:
    """What a terminal of 80 columns gets."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    subprocess.run(COMMAND, cwd=ROOT, stdout=its, stderr=its, env={**environment, "TERM": "xterm"}, check=True)
    os.close(its)
    found = b""
    try:
        while part := os.read(ours, 1 << 16):
            found += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", found.decode()).replace("\r", "")


def test_a_pipe_gets_plain_text_with_whole_sentences() -> None:
    piped = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, check=True)
    assert piped.stdout.splitlines()[:2] == [SENTENCE, "b[1] 0.5"]
    assert "\x1b" not in piped.stdout
    assert piped.stderr == ""


def test_a_terminal_gets_lines_that_fit_with_words_whole(shown: str) -> None:
    lines = [line.rstrip() for line in shown.splitlines()]
    assert max(map(len, lines)) <= COLUMNS
    assert SENTENCE in " ".join(lines)

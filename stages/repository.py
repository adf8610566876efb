"""DVC where there is no git, as in an unpacked archive."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from stages.files.errors import InputError


def allow_no_git(root: Path) -> bool:
    """Set core.no_scm, without which DVC refuses to work if no git is at `root` or above; whether it is new."""
    config = root / ".dvc" / "config.local"
    written = config.read_text(encoding="utf-8") if config.exists() else ""
    if re.search(r"no_scm\s*=\s*true", written, re.IGNORECASE):
        return False
    if any((above / ".git").exists() for above in (root, *root.parents)):
        return False
    command = [sys.executable, "-m", "dvc", "config", "--local", "core.no_scm", "true"]  # other settings stay
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"{config} cannot be written: {' '.join(done.stderr.split())}")
    return True

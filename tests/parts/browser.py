"""The environment that makes a person, by HTTP or at Chromium, the browser of a program under test."""

import json
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from parts.machine import HERE, chromium


@dataclass(frozen=True)
class Browser:
    """Who opens the links. `deny`: refuse where a page's URL starts with it (1: anywhere). `fill`: what to type in."""

    login: str = "alice"
    deny: str = ""
    fill: dict[str, str] = field(default_factory=dict)
    ca: Path | None = None
    log: Path | None = None
    shots: Path | None = None
    chromium: bool = False

    def environment(self) -> dict[str, str]:
        """BROWSER and what its person reads."""
        script = HERE / ("chromium.py" if self.chromium else "person.py")
        variables = {
            "BROWSER": f"{shlex.quote(sys.executable)} {shlex.quote(str(script))} %s",
            "CONSENT_LOGIN": self.login,
            "CONSENT_DENY": self.deny,
            "CONSENT_FILL": json.dumps(self.fill),
            "CONSENT_CA": str(self.ca or ""),
            "CONSENT_LOG": str(self.log or ""),
            "CONSENT_SHOTS": str(self.shots or ""),
            "CHROMIUM": chromium() if self.chromium else "",
        }
        return {name: value for name, value in variables.items() if value}

"""Provider files for tests."""

import json
from typing import Any


def members(**changes: object) -> dict[str, Any]:
    """A small valid file as an object; `oauth__scopes=…` changes a member of a member, `...` takes one away."""
    found: dict[str, Any] = {
        "name": "sample",
        "display_name": "Sample",
        "auth_type": "oauth2",
        "flow": "pkce",
        "api_url": "api.sample.test",
        "oauth": {"authorization_url": "https://sample.test/authorize", "token_url": "https://sample.test/token"},
    }
    for path, value in changes.items():
        *parents, name = path.split("__")
        holder = found
        for parent in parents:
            holder = holder.setdefault(parent, {})
        if value is ...:
            del holder[name]
        else:
            holder[name] = value
    return found


def file(**changes: object) -> str:
    """The same as text."""
    return json.dumps(members(**changes))

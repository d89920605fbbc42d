"""What has to succeed in every run: else an attempt that fails would prove nothing."""

import os
import tempfile

from .trying import AIMS, control, exchange, shell, tunnel


@control("the proxy, and through it a host with the credential")
def _() -> object:
    key = os.environ["OPENAI_API_KEY"]
    return exchange(tunnel(AIMS["lent"], 443), AIMS["lent"], "/v1/models", key).startswith("HTTP/1.1 200")


@control("ordinary work: programs, temporary files, files of the project")
def _() -> object:
    with tempfile.NamedTemporaryFile("w+", dir=".") as file:
        file.write("kept")
        file.flush()
        return shell(f"ls /usr >/dev/null && f=$(mktemp) && cat {file.name} >$f && cat $f && rm $f") == "kept"

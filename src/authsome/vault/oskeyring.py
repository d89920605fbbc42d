"""The operating system's keyring, asked by a child process: it may hang, prompt or crash without harm to us (V28).

`python -m authsome.vault.oskeyring` is that child. It reads one JSON request on its standard input and
answers with one JSON object; no secret is an argument. The child alone imports `keyring`.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

from authsome.errors import VaultError
from authsome.model.secret import Secret

SERVICE = "authsome"
SECONDS = 5.0


class KeyringSilent(VaultError):
    """The keyring did not answer, refused, or is not one to be trusted."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a keyring that works holds for an account."""

    value: Secret | None


def read(account: str) -> Found:
    """What the keyring holds. Raises KeyringSilent."""
    return _found(_ask({"verb": "read", "account": account}))


def probe(account: str) -> Found:
    """As `read`, after another entry was set, read back and deleted. Raises KeyringSilent."""
    return _found(_ask({"verb": "probe", "account": account}))


def keep(account: str, value: Secret) -> None:
    """Stores the value and reads it back. Raises KeyringSilent."""
    _ask({"verb": "keep", "account": account, "value": value.reveal()})


def _found(answer: dict[str, object]) -> Found:
    value = answer.get("value")
    return Found(Secret(value) if isinstance(value, str) else None)


def _ask(request: dict[str, str]) -> dict[str, object]:
    # a session of its own: no terminal to prompt on, and one group to end
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "authsome.vault.oskeyring"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(json.dumps(request).encode(), timeout=SECONDS)
        answer = json.loads(output) if child.returncode == 0 else None
    except subprocess.TimeoutExpired:
        raise KeyringSilent(
            f"the keyring did not answer within {SECONDS:.0f} s",
            "unlock it and try again, or set AUTHSOME_ROOT_KEY_FILE",
        ) from None
    except ValueError:
        answer = None
    finally:
        _end(child)
    if not isinstance(answer, dict):
        raise KeyringSilent("the keyring failed", "python -m keyring diagnose shows which one is in use")
    if "silent" in answer:
        raise KeyringSilent(str(answer["silent"]), "python -m keyring diagnose shows which one is in use")
    return answer


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _answer(request: dict[str, str]) -> dict[str, object]:
    import keyring
    import keyring.core
    import keyring.errors

    backend = keyring.get_keyring()
    if not keyring.core.recommended(backend):
        return {"silent": "there is no keyring that keeps secrets safe"}
    account = request["account"]
    try:
        if request["verb"] == "keep":
            backend.set_password(SERVICE, account, request["value"])
            if backend.get_password(SERVICE, account) != request["value"]:
                return {"silent": "the keyring did not keep what it was given"}
            return {}
        if request["verb"] == "probe":
            probe, value = f"{account} (probe)", os.urandom(16).hex()
            backend.set_password(SERVICE, probe, value)
            kept = backend.get_password(SERVICE, probe)
            backend.delete_password(SERVICE, probe)
            if kept != value or backend.get_password(SERVICE, probe) is not None:
                return {"silent": "the keyring did not keep what it was given"}
        return {"value": backend.get_password(SERVICE, account)}
    except keyring.errors.KeyringError as error:
        return {"silent": f"the keyring refused: {type(error).__name__}"}


if __name__ == "__main__":
    json.dump(_answer(json.load(sys.stdin)), sys.stdout)

"""`python -P -m authsome.demo.server DIRECTORY`: the demo's authorization server and API as a process.

It speaks with its starter over stdin and stdout, one JSON object a line, and ends when stdin ends.
First it says where it listens: `{"issuer", "api": "127.0.0.1:PORT", "ca_file"}`. Then it answers
`{"ask": "received"}` with `{"requests": […]}` and `{"ask": "search", "directory": PATH}` with
`{"files": N, "found": […]}`: the files in which a secret that was issued here stands in clear.
"""

import json
import socket
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import uvicorn
from starlette.types import ASGIApp

from authsome.demo.certificates import certify
from authsome.demo.issuer import Issuer
from authsome.demo.ledger import Ledger
from authsome.demo.names import API_HOST, LOOPBACK
from authsome.demo.pages import api, authorization_server


def main(directory: Path, questions: TextIO, answers: TextIO) -> None:
    """Serves until `questions` ends."""
    issuer_socket, api_socket = _listen(), _listen()
    issuer = Issuer(f"http://{LOOPBACK}:{issuer_socket.getsockname()[1]}", Ledger())
    _serve(_configure(authorization_server(issuer)), issuer_socket)
    ca_file = directory / "ca.pem"
    _serve(_configure_tls(api(API_HOST, issuer), directory, ca_file), api_socket)
    address = f"{LOOPBACK}:{api_socket.getsockname()[1]}"
    _say(answers, {"issuer": issuer.url, "api": address, "ca_file": str(ca_file)})
    for line in questions:
        _say(answers, _answer(json.loads(line), issuer.ledger))


def _answer(question: dict[str, str], ledger: Ledger) -> dict[str, object]:
    match question["ask"]:
        case "received":
            return {"requests": [asdict(request) for request in ledger.received]}
        case "search":
            return ledger.search(Path(question["directory"]))
        case unknown:
            return {"error": f"nobody knows how to answer {unknown!r}"}


def _say(answers: TextIO, answer: dict[str, object]) -> None:
    print(json.dumps(answer), file=answers, flush=True)


def _listen() -> socket.socket:
    """A listening socket on a free port: whoever connects before the server runs waits in its queue."""
    listener = socket.create_server((LOOPBACK, 0))
    listener.listen(128)
    return listener


def _configure(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False)


def _configure_tls(app: ASGIApp, directory: Path, ca_file: Path) -> uvicorn.Config:
    """The private key is a file only for as long as OpenSSL needs to read it."""
    certificate = certify(API_HOST)
    chain, key = directory / "server.pem", directory / "server.key"
    ca_file.write_bytes(certificate.authority)
    chain.write_bytes(certificate.chain)
    key.touch(mode=0o600)
    key.write_bytes(certificate.key)
    config = _configure(app)
    config.ssl_certfile, config.ssl_keyfile = str(chain), str(key)
    config.load()
    key.unlink()
    return config


def _serve(config: uvicorn.Config, listener: socket.socket) -> None:
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.stdin, sys.stdout)

"""`python -m attacks serve|attack AIMS`, where AIMS is a file of JSON (see `test_attacks.py`).

`serve` is what stands outside: services of the same user that no isolated command may reach. `attack` makes the
attempts and prints one JSON object a line: the attempt, whether it reached its aim, and what it met.
"""

import json
import os
import socket
import sys
import threading
import time

from . import ATTEMPTS, CONTROLS
from .trying import AIMS, BANNER


def attack() -> None:
    """Make every attempt, each in a process of its own."""
    for name, action in (CONTROLS | ATTEMPTS).items():
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                said = "" if action() else "nothing came of it"
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(write, said.encode()[:500] or b"-")
            os._exit(0)
        os.close(write)
        with open(read) as file:
            said = file.read()
        os.waitpid(pid, 0)
        print(json.dumps({"attempt": name, "reached": said == "-", "why": said}), flush=True)


def serve() -> None:
    """Be the services outside."""

    def accept(listener: socket.socket) -> None:
        while True:
            sock, _ = listener.accept()
            sock.sendall(BANNER)
            sock.close()

    def echo(sock: socket.socket) -> None:
        while True:
            sock.sendto(BANNER, sock.recvfrom(64)[1])

    listeners = [socket.create_server(("127.0.0.1", AIMS["tcp"]))]
    for path in ("\0" + AIMS["abstract"], AIMS["agent"], AIMS["service"]):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        listeners.append(listener)
    for listener in listeners:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", AIMS["udp"]))
    threading.Thread(target=echo, args=(datagrams,), daemon=True).start()
    with open(AIMS["ready"], "w") as file:
        file.write(f"{os.getpid()}\n")
    while os.path.exists(AIMS["ready"]):
        time.sleep(0.1)


if __name__ == "__main__":
    with open(sys.argv[2]) as given:
        AIMS.update(json.load(given))
    {"serve": serve, "attack": attack}[sys.argv[1]]()

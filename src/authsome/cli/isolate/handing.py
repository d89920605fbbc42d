"""Handing the sockets of a run's network to the daemon, and again to the next one where that has gone."""

import array
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Sequence

from authsome.cli.client import check_peer, is_private, reported
from authsome.errors import AuthsomeError, DaemonUnavailable

_SECONDS = 10.0
_AGAIN = 0.5


class Handing:
    """What is handed over: the sockets, with the run's token and the hosts that it may reach."""

    def __init__(self, home: str, token: str, hosts: Sequence[str], sockets: Sequence[int]) -> None:
        self._home = home
        self._message = json.dumps({"token": token, "hosts": list(hosts)}).encode()
        self._sockets = array.array("i", sockets)

    def hand_over(self) -> socket.socket:
        """Do it. The connection stays open as long as the daemon lives.

        Raises what the daemon reports, or DaemonUnavailable.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.settimeout(_SECONDS)
            is_private(os.path.join(self._home, "run"))
            sock.connect(os.path.join(self._home, "run", "handover.sock"))
            check_peer(sock)
            sock.sendmsg([self._message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, self._sockets)])
            said = json.loads(sock.recv(65536))
            sock.settimeout(None)
        except AuthsomeError:
            sock.close()
            raise
        except (OSError, ValueError):
            sock.close()
            raise DaemonUnavailable(
                "the daemon did not take over the network of the run", "run: authsome daemon restart"
            ) from None
        if said:
            sock.close()
            raise reported(said)
        return sock

    def keep(self, sock: socket.socket) -> None:
        """From now on, in a thread: when the daemon goes, hand over to the next."""
        threading.Thread(target=self._keep, args=(sock,), daemon=True).start()

    def _keep(self, sock: socket.socket) -> None:
        while True:
            with contextlib.suppress(OSError):
                sock.recv(1)
            sock.close()
            while True:
                time.sleep(_AGAIN)
                try:
                    sock = self.hand_over()
                    break
                except AuthsomeError:
                    continue

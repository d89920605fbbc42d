"""Attempts at those who act for the person: sockets of agents, keys, what their shell and terminal obey."""

import fcntl
import os
import socket

from .trying import AIMS, attempt, connect, greeted, succeeded


@attempt("the daemon's own socket")
def _() -> object:
    return connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, f"{AIMS['home']}/run/daemon.sock")


@attempt("where sockets are handed over")
def _() -> object:
    return connect(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, f"{AIMS['home']}/run/handover.sock")


@attempt("an agent's socket that a variable names")
def _() -> object:
    return greeted(connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, os.environ["SSH_AUTH_SOCK"]))


@attempt("an agent's socket by its path")
def _() -> object:
    return greeted(connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, AIMS["agent"]))


@attempt("a service's socket in a directory like any other")
def _() -> object:
    return greeted(connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, AIMS["service"]))


@attempt("a key of the person's for ssh")
def _() -> object:
    return open(AIMS["ssh_key"]).read()


@attempt("a file that the person's shell reads at its start")
def _() -> object:
    return open(os.path.join(AIMS["person"], ".bashrc"), "a").write("# ours\n")


@attempt("type into the person's terminal")
def _() -> object:
    ours, theirs = os.openpty()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            fcntl.ioctl(theirs, 0x540E, 0)  # make it ours, which is when this is allowed to everybody
            fcntl.ioctl(theirs, 0x5412, b"x")
            os._exit(0)
        except BaseException:
            os._exit(1)
    return succeeded(pid) and ours

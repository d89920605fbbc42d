"""What happens on the way in: a process that builds the namespaces, the first process in them, and the command.

They tell the supervisor over one socket how far they came; a failure is told there and ends them.
"""

import array
import json
import os
import signal
import socket
import stat
from collections.abc import Collection
from typing import NamedTuple, NoReturn

from authsome.cli.commands.run import become
from authsome.cli.isolate import kernel, landlock, mounts, network, seccomp
from authsome.cli.isolate.plan import Plan
from authsome.errors import AuthsomeError

_SPACES = (
    kernel.NEWUSER | kernel.NEWNS | kernel.NEWNET | kernel.NEWPID | kernel.NEWIPC | kernel.NEWUTS | kernel.NEWCGROUP
)
_FAILED = 125


class Task(NamedTuple):
    """The command to start, and how. `signals` were blocked before, and are again for the command."""

    command: list[str]
    environment: dict[str, str]
    plan: Plan
    signals: Collection[int]


def enter(task: Task, channel: socket.socket) -> NoReturn:
    """Called in a new process: build the namespaces, start the command in them, and end as it ends."""
    try:
        outside = os.getppid()
        uid, gid = os.geteuid(), os.getegid()
        kernel.unshare(_SPACES)
        _keep(uid, gid)
        kernel.hide_memory()
        kernel.die_with_parent()
        if os.getppid() != outside:
            os._exit(_FAILED)
        close_inherited(channel)
        writable = mounts.arrange(task.plan)
        network.raise_network()
        hand(channel, b"sockets", network.listening_sockets())
        if channel.recv(16) != b"go":
            os._exit(_FAILED)
        first = os.fork()
        if first == 0:
            _be_first(task, channel, writable)
        channel.close()
        _let_go_of_streams()
        kernel.drop_privileges()
        _, status = os.waitpid(first, 0)
        os._exit(exit_status(status))
    except BaseException as error:  # noqa: BLE001  there is nobody else to tell
        _fail(channel, error)


def exit_status(status: int) -> int:
    """As a shell gives it: 128 and the number of a signal."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def hand(channel: socket.socket, what: bytes, things: Collection[socket.socket] | Collection[int]) -> None:
    """Send descriptors along with a word; sockets among them are closed here."""
    numbers = [each if isinstance(each, int) else each.fileno() for each in things]
    channel.sendmsg([what], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", numbers))])
    for each in things:
        if isinstance(each, socket.socket):
            each.close()


def close_inherited(channel: socket.socket) -> None:
    """Keep the streams, and of the rest pipes and files: a directory would lead past all mounts, a socket outside."""
    for number in sorted(int(name) for name in os.listdir("/proc/self/fd")):
        try:
            mode = os.fstat(number).st_mode
        except OSError:
            continue
        if stat.S_ISDIR(mode):
            os.dup2(os.open(os.devnull, os.O_RDONLY), number) if number < 3 else os.close(number)
        elif number > 2 and number != channel.fileno() and not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode)):
            os.close(number)


def _keep(uid: int, gid: int) -> None:
    """The same user and group in there; there are no others."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _be_first(task: Task, channel: socket.socket, writable: list[str]) -> NoReturn:
    """The first process: it starts the command, buries what dies, and ends with the command."""
    try:
        kernel.die_with_parent()
        mounts.mount_processes()
        kernel.drop_privileges()
        landlock.confine(writable)
        seccomp.shut()
        command = os.fork()
        if command == 0:
            _be_command(task, channel)
        handle = os.pidfd_open(command)
        hand(channel, b"started", [handle])
        os.close(handle)
        channel.close()
        _let_go_of_streams()
        while True:
            pid, status = os.wait()
            if pid == command:
                os._exit(exit_status(status))
    except BaseException as error:  # noqa: BLE001
        _fail(channel, error)


def _be_command(task: Task, channel: socket.socket) -> NoReturn:
    try:
        os.set_inheritable(channel.fileno(), False)
        signal.pthread_sigmask(signal.SIG_SETMASK, task.signals)
        become(task.command, task.environment)
    except BaseException as error:  # noqa: BLE001
        _fail(channel, error)


def _let_go_of_streams() -> None:
    """Whoever reads what the command writes learns when the command closes it."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)


def _fail(channel: socket.socket, error: BaseException) -> NoReturn:
    if isinstance(error, AuthsomeError):
        said: dict[str, object] = error.to_json()
    elif isinstance(error, OSError):
        said = {"step": str(error.filename or "setup"), "errno": error.errno, "reason": error.strerror}
    else:
        said = {"step": type(error).__name__, "errno": 0, "reason": "unexpected"}
    try:
        channel.send(json.dumps(said).encode())
    finally:
        os._exit(_FAILED)

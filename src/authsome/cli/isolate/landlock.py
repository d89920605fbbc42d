"""A second wall behind the mounts: Landlock allows writing in few places, and no signals or sockets across.

With it no mount can be changed either, whoever finds a way to try. Kernels without it go on without it.
"""

import os
import struct
from collections.abc import Iterable

from authsome.cli.isolate import kernel

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # one number on every architecture
_VERSION = 1
_PATH_BENEATH = 1

_WRITE_FILE = 1 << 1
_IN_DIRECTORIES = sum(1 << bit for bit in range(4, 13))  # removing and making what is not a file's content
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2


def version() -> int:
    """What the kernel offers, 0 for nothing."""
    return max(0, kernel.system_call(_CREATE, None, 0, _VERSION))


def confine(writable: Iterable[str]) -> None:
    """Allow writing only at and below these paths, for good. It needs no_new_privs."""
    offered = version()
    if not offered:
        return
    rights = _WRITE_FILE | _IN_DIRECTORIES | (_REFER if offered >= 2 else 0) | (_TRUNCATE if offered >= 3 else 0)
    scopes = _ABSTRACT_SOCKETS | _SIGNALS if offered >= 6 else 0
    attributes = struct.pack("=QQQ", rights, 0, scopes)[: 24 if offered >= 6 else 8]
    rules = kernel.check(kernel.system_call(_CREATE, attributes, len(attributes), 0), "landlock_create_ruleset")
    try:
        for path in writable:
            _allow(rules, path, rights)
        kernel.check(kernel.system_call(_RESTRICT, rules, 0), "landlock_restrict_self")
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        here = rights if os.path.isdir(path) else rights & (_WRITE_FILE | _TRUNCATE)
        rule = struct.pack("=Qi", here, handle)
        kernel.check(kernel.system_call(_ADD, rules, _PATH_BENEATH, rule, 0), "landlock_add_rule")
    finally:
        os.close(handle)

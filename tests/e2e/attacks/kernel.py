"""Attempts at the parts of the kernel in which holes are usually found."""

import ctypes
import os
import struct

from .trying import NEW_USER_AND_MOUNTS, attempt, call, number, succeeded


@attempt("io_uring")
def _() -> object:
    return call(425, 1, ctypes.create_string_buffer(120))


@attempt("the kernel's keys")
def _() -> object:
    return call(number(250, 219), 0, -3, 1)


@attempt("programs in the kernel (BPF)")
def _() -> object:
    return call(number(321, 280), 0, struct.pack("=IIII", 2, 4, 8, 1) + bytes(112), 128) > 0


@attempt("page faults of its own (userfaultfd)")
def _() -> object:
    return call(number(323, 282), 1) > 0


@attempt("performance counters")
def _() -> object:
    attributes = struct.pack("=IIQ", 1, 112, 0) + bytes(24) + struct.pack("=Q", 0x60) + bytes(64)
    return call(number(298, 241), attributes, 0, -1, -1, 0) > 0


@attempt("a handler that the kernel runs outside (core_pattern)")
def _() -> object:
    return os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)


@attempt("a new system of files")
def _() -> object:
    return call(430, b"tmpfs", 0) > 0


@attempt("a namespace by clone3, whose flags no filter sees")
def _() -> object:
    pid = call(435, struct.pack("=11Q", NEW_USER_AND_MOUNTS, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88)
    if pid == 0:
        os._exit(0)
    return succeeded(pid)

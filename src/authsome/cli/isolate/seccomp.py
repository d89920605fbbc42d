"""A system call filter: what an isolated command has no business with is refused by the kernel (seccomp, classic BPF).

Both tables of system calls are the kernel's own (arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h).
"""

import ctypes
import errno
import struct

from authsome.cli.isolate import kernel

_Calls = dict[str, tuple[int | None, int | None]]

_REFUSED: _Calls = {  # name: numbers on x86_64 and aarch64, None where there is no such call
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "open_tree_attr": (467, 467), "unshare": (272, 97),
    "setns": (308, 268), "open_by_handle_at": (304, 265),
    # keys, tracing, and what attackers of kernels like
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280),
    "userfaultfd": (323, 282), "perf_event_open": (298, 241), "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    # the machine itself
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443), "syslog": (103, 116),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58), "iopl": (172, None),
    "ioperm": (173, None), "uselib": (134, None), "ustat": (136, None), "sysfs": (139, None),
    "modify_ldt": (154, None), "nfsservctl": (180, 42), "move_pages": (279, 239), "mbind": (237, 235),
    "migrate_pages": (256, 238), "set_mempolicy_home_node": (450, 450),
}  # fmt: skip
_NOT_THERE: _Calls = {  # programs do without these where the kernel lacks them
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "clone3": (435, 435),  # its flags lie in memory, where no filter sees them; threads then come by clone
}  # fmt: skip
_CLONE, _SOCKET, _SOCKETPAIR, _IOCTL = (56, 220), (41, 198), (53, 199), (16, 29)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_X32 = 0x40000000

_NAMESPACES = (
    kernel.NEWTIME | kernel.NEWNS | kernel.NEWCGROUP | kernel.NEWUTS | kernel.NEWIPC | kernel.NEWUSER
    | kernel.NEWPID | kernel.NEWNET
)  # fmt: skip
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_PROTOCOLS = (0, 6, 17)  # any, TCP, UDP: not MPTCP, SMC or SCTP
_TERMINAL_TRICKS = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX type into the terminal that outlives the command

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # where they lie in struct seccomp_data
_PR_SET_SECCOMP, _FILTER = 22, 2


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def is_known(machine: str = kernel.MACHINE) -> bool:
    """Whether there is a table for a machine."""
    return machine in _ARCHITECTURES


def shut() -> None:
    """Filter the system calls of this process and of all that it starts, for good."""
    code = program(kernel.MACHINE)
    filled = _Program(len(code) // 8, code)
    kernel.process_control(_PR_SET_SECCOMP, _FILTER, ctypes.byref(filled))


def program(machine: str) -> bytes:
    """The filter. Another architecture than the machine's own, such as 32-bit, is killed."""
    column, architecture = _ARCHITECTURES[machine]
    code = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, architecture, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        code += [_step(_AT_LEAST, _X32, 0, 1), _step(_RETURN, _KILL)]
    for names, number in ((_REFUSED, errno.EPERM), (_NOT_THERE, errno.ENOSYS)):
        for row in names.values():
            refused = row[column]
            if refused is not None:
                code += [_step(_EQUAL, refused, 0, 1), _fail(number)]
    code += _call(_CLONE[column], _argument(0), [_step(_ANY_BIT, _NAMESPACES, 0, 1), _fail(errno.EPERM)])
    tricks = [step for each in _TERMINAL_TRICKS for step in (_step(_EQUAL, each, 0, 1), _fail(errno.EPERM))]
    code += _call(_IOCTL[column], _argument(1), tricks)
    code += _call(_SOCKETPAIR[column], _argument(0), [_step(_EQUAL, _UNIX, 1, 0), _fail(errno.EAFNOSUPPORT)])
    code += _call(_SOCKET[column], _argument(0), _socket_rule())
    return b"".join([*code, _step(_RETURN, _ALLOW)])


def _socket_rule() -> list[bytes]:
    """Unix sockets, TCP and UDP, and the kernel's list of interfaces; the family is loaded."""
    inet = [_argument(2), *(_step(_EQUAL, each, 2 - at, 0) for at, each in enumerate(_PROTOCOLS))]
    inet[-1] = _step(_EQUAL, _PROTOCOLS[-1], 0, 1)
    inet += [_step(_RETURN, _ALLOW), _fail(errno.EPROTONOSUPPORT)]
    netlink = [_argument(2), _step(_EQUAL, 0, 0, 1), _step(_RETURN, _ALLOW), _fail(errno.EPROTONOSUPPORT)]
    return [
        _step(_EQUAL, _UNIX, 0, 1),
        _step(_RETURN, _ALLOW),
        _step(_EQUAL, _NETLINK, 0, len(netlink)),
        *netlink,
        _step(_EQUAL, _INET, 1, 0),
        _step(_EQUAL, _INET6, 0, len(inet)),
        *inet,
        _fail(errno.EAFNOSUPPORT),
    ]


def _call(number: int, load: bytes, rule: list[bytes]) -> list[bytes]:
    """A rule for the arguments of one call. It ends in an answer or falls through to what is allowed."""
    body = [load, *rule, _step(_RETURN, _ALLOW)]
    return [_step(_EQUAL, number, 0, len(body)), *body]


def _argument(number: int) -> bytes:
    """Load the lower half of an argument; the calls at hand look at no more than that."""
    return _step(_LOAD, _ARGUMENTS + 8 * number)


def _fail(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)

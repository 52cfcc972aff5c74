"""Faults, loops and system calls made inside another process by ptrace: what code that took it over would do.

For: tests of what becomes of them, in the real daemon. Not for: who is not root, nor machines other than x86-64.
"""

import ctypes
import os
import signal

NAMES = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs"
SYSCALL_BYTES = 2  # of the instruction before the one that a waiting process returns to
SINGLESTEP, GETREGS, SETREGS, ATTACH, DETACH = 9, 12, 13, 16, 17
WALL = 0x40000000
POSSIBLE = os.geteuid() == 0 and os.uname().machine == "x86_64"
STACK = object()  # an argument that points to readable memory
TEXT_BELOW_STACK = 4096  # where a text among the arguments is put: nobody's, in a process that waits


class Registers(ctypes.Structure):
    """user_regs_struct of <sys/user.h>."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in NAMES.split()]


def ptrace(request, pid, data=None):
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    library.ptrace.restype = ctypes.c_long
    if library.ptrace(request, pid, None, data) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def registers(pid):
    out = Registers()
    ptrace(GETREGS, pid, ctypes.addressof(out))
    return out


def call_inside(pid, number, *arguments):
    """What that system call returned (-errno where it failed) in a process that waits in another one, which goes on afterwards; None
    where the process was killed for it. One text may be among the arguments."""
    ptrace(ATTACH, pid)
    os.waitpid(pid, WALL)
    waiting = registers(pid)
    if ctypes.c_longlong(waiting.orig_rax).value < 0:
        ptrace(DETACH, pid)
        raise AssertionError("it waits in no system call")
    at_call = Registers.from_buffer_copy(waiting)
    at_call.rip -= SYSCALL_BYTES
    at_call.rax = waiting.orig_rax
    at_call.orig_rax = ctypes.c_ulonglong(-1).value
    wanted = Registers.from_buffer_copy(at_call)
    wanted.rax = number
    for name, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), arguments):
        if isinstance(value, str):
            place = waiting.rsp - TEXT_BELOW_STACK
            with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
                memory.seek(place)
                memory.write(value.encode() + b"\0")
            value = place
        setattr(wanted, name, waiting.rsp if value is STACK else ctypes.c_ulonglong(value).value)
    ptrace(SETREGS, pid, ctypes.addressof(wanted))
    delivered = 0
    while True:
        ptrace(SINGLESTEP, pid, delivered)
        _, status = os.waitpid(pid, WALL)
        if not os.WIFSTOPPED(status):
            return None
        delivered = os.WSTOPSIG(status) if os.WSTOPSIG(status) != signal.SIGTRAP else 0
        now = registers(pid)
        if delivered == 0 and now.rip == waiting.rip:  # its own handler, if any, has returned
            break
    ptrace(SETREGS, pid, ctypes.addressof(at_call))
    ptrace(DETACH, pid)
    return ctypes.c_longlong(now.rax).value


def spin_inside(pid):
    """It goes on in an endless loop: two bytes somewhere in its code that jump to themselves."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            if " r-xp " in line and "/" in line:
                start, end = (int(text, 16) for text in line.split()[0].split("-"))
                memory.seek(start)
                place = memory.read(end - start).find(b"\xeb\xfe")
                if place >= 0:
                    go_on_at(pid, start + place)
                    return
    raise AssertionError("no such loop")


def go_on_at(pid, address):
    ptrace(ATTACH, pid)
    os.waitpid(pid, WALL)
    lost = registers(pid)
    lost.rip = address
    lost.orig_rax = ctypes.c_ulonglong(-1).value
    ptrace(SETREGS, pid, ctypes.addressof(lost))
    ptrace(DETACH, pid)


def fault_inside(pid):
    """It goes on at an address where nothing is."""
    go_on_at(pid, 0)

#!/usr/bin/env python3
"""Runs a command as an old kernel would: system calls that it does not have fail with ENOSYS (x86_64, root).

    old-kernel.py 3.10 COMMAND…

A NAS has an old kernel below its old glibc, and a chroot has the kernel of its host. System calls are numbered in the
order in which Linux got them, so one comparison in a seccomp filter is enough. It does not take away flags, file
systems and ioctls that came later.
"""

import ctypes
import os
import platform
import struct
import sys

# The highest system call of each kernel, and the first one that it lacks.
LAST = {"3.10": 313, "4.4": 325}  # finit_module, mlock2; before sched_setattr, copy_file_range
ENOSYS = 38
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
LOAD, JUMP_GREATER, RETURN = 0x20, 0x25, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def forget_newer(last):
    program = b"".join(
        struct.pack("<HBBI", *instruction)
        for instruction in [
            (LOAD, 0, 0, 0),  # the number of the call
            (JUMP_GREATER, 0, 1, last),
            (RETURN, 0, 0, ERRNO | ENOSYS),
            (RETURN, 0, 0, ALLOW),
        ]
    )
    instructions = ctypes.create_string_buffer(program, len(program))
    filter = struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    prctl = libc.prctl
    prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_ulong]
    if prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter, 0, 0) != 0:
        sys.exit(f"no filter of system calls: {os.strerror(ctypes.get_errno())}")


def main(kernel, *command):
    if platform.machine() != "x86_64":
        sys.exit("system calls are numbered by their age on x86_64 only")
    forget_newer(LAST[kernel])
    os.execvp(command[0], command)


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in LAST:
        sys.exit(f"usage: old-kernel.py {'|'.join(LAST)} COMMAND...")
    main(*sys.argv[1:])

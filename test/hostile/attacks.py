# SPDX-License-Identifier: GPL-3.0-or-later
"""What a script of a scene does when it does run. Written into text blocks by make-scenes.py."""

import ctypes
import json
import os
import signal
import socket
import threading
import time

MIB = 1024 * 1024


def tried(work):
    """Whether it worked, or why not."""
    try:
        return ["worked", repr(work())[:200]]
    except BaseException as error:
        return ["failed", f"{type(error).__name__}: {error}"[:200]]


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(3)
        client.connect(address)


def send_datagram(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        return client.sendto(b"x", address)


def read(path):
    """With the file's identity: a sandbox may have a file of its own where the host has one."""
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        return f"{status.st_dev}:{status.st_ino} {file.read(64)!r}"


def entries(path):
    status = os.stat(path)
    return f"{status.st_dev}:{status.st_ino} {os.listdir(path)}"


def write(path):
    with open(path, "w") as file:
        file.write("x")


def open_to_write(path):
    """Without a byte: where it does open, the host's kernel must not be changed by a test."""
    os.close(os.open(path, os.O_WRONLY))


def writable_below(folder):
    """Raises unless something there could be written to. What a sandbox hides in /proc is /dev/null."""
    hidden = os.stat("/dev/null").st_rdev
    for parent, folders, names in os.walk(folder):
        if parent == folder:
            folders[:] = [name for name in folders if not name.isdigit() and name not in ("self", "thread-self")]
        for name in names:
            path = os.path.join(parent, name)
            if os.access(path, os.W_OK) and os.stat(path).st_rdev != hidden:
                return path
    raise PermissionError("nothing")


def call(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def escape(facts):
    """Everything that leads out; what came of it goes into a file that the test reads."""
    outside, port, pid = facts["outside"], facts["port"], facts["pid"]
    report = {
        "connect": {
            "host loopback": tried(lambda: connect(socket.AF_INET, ("127.0.0.1", port))),
            "host address": tried(lambda: connect(socket.AF_INET, (facts["address"], port))),
            "abstract socket": tried(lambda: connect(socket.AF_UNIX, "\0" + facts["abstract"])),
            "socket file": tried(lambda: connect(socket.AF_UNIX, facts["socket"])),
            "internet": tried(lambda: connect(socket.AF_INET, ("203.0.113.1", 80))),
            "datagram": tried(lambda: send_datagram(("203.0.113.1", 53))),
            "name": tried(lambda: socket.getaddrinfo("example.org", 80)),
        },
        "read": {
            path: tried(lambda path=path: read(path))
            for path in ["/etc/shadow", "/etc/passwd", facts["home"] + "/.bashrc", facts["secret"],
                         f"/proc/{pid}/environ", "/proc/1/environ", "/proc/kcore", "/dev/mem", "/sys/kernel/notes"]
        },
        "list": {path: tried(lambda path=path: entries(path)) for path in ["/root", "/home", facts["home"], outside]},
        "write": {
            path: tried(lambda path=path: write(path))
            for path in [outside + "/written-by-script", "/scene/x", "/in/x", "/tessera/session/x", "/usr/x", "/etc/x",
                         "/dev/x", "/x"]
        },
        "kernel": {
            "core_pattern": tried(lambda: open_to_write("/proc/sys/kernel/core_pattern")),
            "sysrq": tried(lambda: open_to_write("/proc/sysrq-trigger")),
            "anything in /proc": tried(lambda: writable_below("/proc")),
        },
        "act": {
            "kill the host": tried(lambda: os.kill(pid, signal.SIGKILL)),
            "be root": tried(lambda: os.setuid(0)),
            "mount": tried(lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, None)),
            "new namespace": tried(lambda: call("unshare", 0x10000000)),
            "trace": tried(lambda: call("ptrace", 16, pid, None, None)),
        },
        "processes": [entry for entry in os.listdir("/proc") if entry.isdigit()],
        "environment": sorted(os.environ),
    }
    for name in ["/out/link.exr", "/out/1.exr"]:
        os.symlink(facts["secret"], name)
    with open("/out/report.json", "w") as file:
        json.dump(report, file)


def fork_bomb():
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.001)


def threads_bomb():
    threading.stack_size(64 * 1024)
    while True:
        try:
            threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()
        except RuntimeError:
            time.sleep(0.001)


def memory():
    kept = []
    while True:
        kept.append(b"x" * (16 * MIB))


def memory_without_name():
    """Memory that belongs to a file without a name and is not mapped: no process has it."""
    chunk = b"x" * MIB
    number = os.memfd_create("hidden")
    while True:
        os.write(number, chunk)


def scratch():
    """Files in the sandbox's own /tmp, which is memory as well."""
    chunk = b"x" * MIB
    with open("/tmp/large", "wb") as file:
        while True:
            file.write(chunk)


def one_large_file():
    chunk = b"x" * MIB
    with open("/out/large", "wb") as file:
        while True:
            file.write(chunk)


def many_files():
    chunk = b"x" * (8 * MIB)
    number = 0
    while True:
        number += 1
        with open(f"/out/{number}.bin", "wb") as file:
            file.write(chunk)


def many_small_files():
    number = 0
    while True:
        number += 1
        folder = f"/out/{number % 100}"
        os.makedirs(folder, exist_ok=True)
        write(f"{folder}/{number}")


def deleted_files():
    """Bytes that no folder shows: each file is deleted while it is open."""
    chunk = b"x" * MIB
    kept = []
    while True:
        file = open("/out/hidden", "wb")
        os.unlink("/out/hidden")
        kept.append(file)
        for _ in range(8):
            file.write(chunk)


def endless():
    while True:
        pass


def kill_everything():
    """Ends every process that it may, and then its own."""
    try:
        os.kill(-1, signal.SIGKILL)
    finally:
        os.kill(os.getpid(), signal.SIGSEGV)

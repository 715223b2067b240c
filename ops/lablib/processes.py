"""Naming processes so that a recycled pid is never mistaken for the one that was meant.

A process is named by its pid and its start time (field 22 of /proc/PID/stat). Start times count from the
machine's boot, so what is kept on disk also names the machine's boot.
"""

import errno
import os
import signal
from pathlib import Path


def machine_boot():
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid):
    """The start time of `pid` in clock ticks, or None if there is no such process (or only its zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name stands in brackets and may hold spaces and brackets itself.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def identify(pid):
    """What is written into a record to name the running process `pid`."""
    return {"pid": pid, "start": start_time(pid), "boot": machine_boot()}


def is_alive(identity):
    return (bool(identity) and identity["boot"] == machine_boot()
            and identity["start"] is not None and start_time(identity["pid"]) == identity["start"])


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def kill_if(pid, still_meant):
    """SIGKILL `pid` if `still_meant()` holds once the process is pinned by a pidfd; True if a signal was sent."""
    try:
        handle = os.pidfd_open(pid)
    except OSError as error:
        # Linux 6.1 says EINVAL, not ESRCH, of a process that is gone while others of its process group live.
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return False
        raise
    try:
        if not still_meant():
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def kill_identified(identity):
    return is_alive(identity) and kill_if(identity["pid"], lambda: is_alive(identity))

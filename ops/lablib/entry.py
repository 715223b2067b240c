"""How a command gets into a node. It is called by the thousand: it needs few modules, so that it costs little."""

import os
from pathlib import Path

from . import cgroups, processes
from .errors import LabError

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}


def init_pid(node):
    """The host's pid of the node's init, or None while the node is off."""
    supervisor = node.data.get("supervisor")
    if not processes.is_alive(supervisor):
        return None
    for pid in processes.children(supervisor["pid"]):
        if is_init(pid):
            return pid
    return None


def is_init(pid):
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        program = Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return False
    line = next((one for one in status.splitlines() if one.startswith("NSpid:")), "")
    # Before it becomes systemd, this process is still systemd-nspawn setting up the root.
    return line.split()[-1:] == ["1"] and program == "systemd"


def require_init(node):
    pid = init_pid(node)
    if pid is None:
        raise LabError(f"node {node.name} is off", f"start it: ops/lab boot {node.lab.name} {node.name}")
    return pid


def environment():
    """What a command in a node is given as its environment, as words of `env`."""
    passed = {name: os.environ[name] for name in ("TERM", "LANG") if name in os.environ}
    return ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in {**ENVIRONMENT, **passed}.items())]


def into(pid):
    """The command line that runs what follows it inside the node whose init this is."""
    return ["nsenter", f"--target={pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--", *environment()]


def enter_groups(node):
    """Move this process into the node's groups, so that what it starts goes down with the node."""
    # A group beside systemd's own: on version 2 a group that hands controllers down may hold no process. There
    # systemd-nspawn makes `payload` the node's root, and a process from outside it cannot be moved into a container.
    groups = cgroups.groups(node.lab.name, node.name)
    roots = [group / "payload" if cgroups.only_version_2() else group for group in groups]
    cgroups.join([cgroups.make_group(root / "exec") for root in roots])

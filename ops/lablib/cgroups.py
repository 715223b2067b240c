"""A cgroup for each node, in every hierarchy of the machine, so that all its processes can be found and ended.

Version 1 and hybrid machines have one hierarchy for each controller: the node's group goes below the group of
the command that boots it, so that limits set there hold for the node too. On a pure version 2 machine it goes
below the root, the only place where controllers may be handed down beside processes.
"""

import os
import time
from pathlib import Path

from . import processes
from .errors import LabError
from .state import CGROUP_NAME

MOUNTS = Path("/proc/self/mountinfo")


def hierarchies():
    """(mount point, kind, options) of each cgroup hierarchy; kind is cgroup (version 1) or cgroup2."""
    found = []
    for line in MOUNTS.read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            found.append((Path(left.split()[4]), kind, set(options.split(","))))
    return found


def only_version_2():
    return all(kind == "cgroup2" for _, kind, _ in hierarchies())


def own_path(kind, options):
    """The group of this process in a hierarchy, as /proc/self/cgroup writes it."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if kind == "cgroup2" and controllers == "":
            return path
        if kind == "cgroup" and controllers and set(controllers.split(",")) <= options:
            return path
    return "/"


def create(lab, node):
    """Make the node's groups; returns their directories."""
    for attempt in range(5):
        try:
            return create_once(lab, node)
        except FileNotFoundError:
            # Another command removed the level above, empty a moment ago.
            if attempt == 4:
                raise


def create_once(lab, node):
    made = []
    only_v2 = only_version_2()
    for point, kind, options in hierarchies():
        above = point if kind == "cgroup2" else point / own_path(kind, options).lstrip("/")
        group = above / CGROUP_NAME / lab / node
        for level in (group.parents[1], group.parents[0], group):
            make_group(level)
        if only_v2:
            hand_down_controllers(point, group)
        made.append(group)
    return made


def make_group(directory):
    directory.mkdir(exist_ok=True)
    if (directory / "cgroup.clone_children").exists() and (directory / "cpuset.cpus").exists():
        # A version 1 cpuset starts empty and takes no process until it has cpus and memory nodes.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not (directory / file).read_text().strip():
                (directory / file).write_text((directory.parent / file).read_text())
    return directory


def join(directories):
    """Move this process into the groups."""
    for directory in directories:
        (directory / "cgroup.procs").write_text(str(os.getpid()))


def hand_down_controllers(point, group):
    names = (point / "cgroup.controllers").read_text().split()
    for level in (point, group.parents[1], group.parents[0]):
        (level / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in names))


def tree(directory):
    """A group and all below it, lowest first. Groups may vanish meanwhile: os.walk passes over those."""
    return [Path(path) for path, _, _ in os.walk(directory, topdown=False)]


def groups(lab=None, node=None):
    """Every group of this state directory's labs (or of one lab, or of one node) that exists now."""
    pattern = "/".join(filter(None, (CGROUP_NAME, lab, node)))
    found = []
    for point, kind, options in hierarchies():
        # The command that booted a node may have lived in another group than this one.
        found += [one for one in tree(point) if one.name == CGROUP_NAME and (one.parent == point or kind == "cgroup")]
    wanted = [one.parent / pattern for one in found]
    return [one for one in wanted if one.is_dir()]


def members(group):
    """The pids in a group and all below it."""
    pids = set()
    for one in tree(group):
        try:
            pids.update(int(word) for word in (one / "cgroup.procs").read_text().split())
        except OSError:
            pass
    pids.discard(0)
    return pids


def kill(directories, seconds=20):
    """SIGKILL whatever runs in the groups until nothing does."""
    deadline = time.monotonic() + seconds
    while True:
        left = {pid: group for group in directories for pid in members(group)}
        if not left:
            return
        if time.monotonic() > deadline:
            raise LabError(f"processes {sorted(left)} do not die", "look at /proc/PID/stack; run: ops/lab doctor")
        for pid, group in left.items():
            processes.kill_if(pid, lambda: pid in members(group))
        time.sleep(0.05)


def remove(directories):
    """Remove the groups and what is below them, lowest first."""
    for group in directories:
        for one in tree(group):
            remove_group(one)


def labs_in(top):
    """The groups of labs in one of this state directory's groups."""
    try:
        return [Path(one) for one in os.scandir(top) if one.is_dir()]
    except FileNotFoundError:
        return []


def remove_empty():
    """Remove the levels above nodes that no node needs any more."""
    for top in groups():
        for one in [*labs_in(top), top]:
            remove_group(one)


def remove_group(directory):
    try:
        directory.rmdir()
    except OSError:
        # Gone already, or in use below; the doctor reports what should not be there.
        pass

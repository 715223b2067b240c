"""What the lab remembers, as files: one directory for each lab, one below it for each node.

    ROOT/base/...                      the built images (images.py)
    ROOT/labs/LAB/lab.json             written before anything of the lab exists
    ROOT/labs/LAB/nodes/NODE/node.json written before anything of the node exists

A record comes first, so whatever a killed command left can be found by its record; names of namespaces and
cgroups hold a tag made from ROOT, so two state directories never touch each other's.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
from pathlib import Path

from . import processes
from .errors import LabError, UsageError
from .later import Later
from .run import wait_for

shutil = Later("shutil")

ROOT = Path(os.environ.get("ETCD_FLEET_LAB_DIR") or "/var/lib/etcd-fleet-lab").absolute()
BASE = ROOT / "base"
LABS = ROOT / "labs"
TAG = hashlib.sha256(str(ROOT).encode()).hexdigest()[:4]
# Namespaces of this state directory; in front of LAB.NODE (a node's) or LAB (the switch).
NETNS_PREFIX = f"efl{TAG}."
CGROUP_NAME = f"etcd-fleet-lab-{TAG}"
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]|[a-z]")


def check_name(what, name):
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a {what}", "use lower-case letters, digits and hyphens, at most 32")
    return name


def write_json(path, value):
    """Replace `path` in one step: a reader or a killed writer never leaves half a record."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(value, indent=1) + "\n")
    fresh.rename(path)


def read_json(path):
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


@contextlib.contextmanager
def locked(name, seconds=120):
    """Hold a lock of the state directory; the kernel lets go of it when the holder dies."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(ROOT / f".{name}.lock", "w") as handle:

        def taken():
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                return False

        wait_for(f"the lock {handle.name}", taken, seconds, hint="another ops/lab command is at work")
        yield


class Record:
    """A directory with a JSON record whose `maker` is the command at work on it and `made` says it finished."""

    def __init__(self, directory, file):
        self.directory = directory
        self.path = directory / file
        self.data = read_json(self.path)

    def begin(self, **data):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data = {**data, "made": False, "maker": processes.identify(os.getpid())}
        self.save()

    def save(self, **changes):
        self.data.update(changes)
        write_json(self.path, self.data)

    @property
    def is_made(self):
        return bool(self.data and self.data["made"])

    @property
    def is_being_made(self):
        return bool(self.data) and not self.data["made"] and processes.is_alive(self.data["maker"])

    def remove_directory(self):
        """Last step of taking something down; the record goes after all else, so that a killed removal goes on."""
        if not self.directory.exists():
            return
        for entry in sorted(self.directory.iterdir(), key=lambda one: one == self.path):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        self.directory.rmdir()


class Lab(Record):
    def __init__(self, name):
        super().__init__(LABS / check_name("lab", name), "lab.json")
        self.name = name

    @property
    def switch(self):
        return f"{NETNS_PREFIX}{self.name}"

    @property
    def is_owned(self):
        """Somebody alive still wants this lab."""
        if self.is_being_made:
            return True
        return self.is_made and (self.data["owner"] is None or processes.is_alive(self.data["owner"]))

    def nodes(self):
        folder = self.directory / "nodes"
        return [Node(self, name) for name in names_in(folder)]

    def cluster(self, name):
        """The nodes of a cluster, in the order of its members; a node made alone is a cluster of its own name."""
        found = [node for node in self.nodes() if node.data and node.data["cluster"] == name]
        return sorted(found, key=lambda node: node.data["number"])

    def cluster_directory(self, cluster):
        return self.directory / "clusters" / cluster


class Node(Record):
    def __init__(self, lab, name):
        super().__init__(lab.directory / "nodes" / check_name("node", name), "node.json")
        self.lab = lab
        self.name = name

    root = property(lambda self: self.directory / "root")
    containers = property(lambda self: self.directory / "containers")
    console = property(lambda self: self.directory / "console.log")
    # systemd-nspawn's own name for it, which must differ over all labs of the machine.
    machine = property(lambda self: f"{TAG}.{self.lab.name}.{self.name}")
    netns = property(lambda self: f"{NETNS_PREFIX}{self.lab.name}.{self.name}")
    address = property(lambda self: self.data["address"])
    kind = property(lambda self: self.data["kind"])

    @property
    def is_abandoned(self):
        """Half-made, or a member of a half-made cluster, and nobody is at work on it."""
        if not self.data:
            return True
        fellows = self.lab.cluster(self.data["cluster"])
        if any(node.is_being_made for node in fellows):
            return False
        return not set(self.data.get("members", [self.name])) <= {node.name for node in fellows if node.is_made}


def names_in(folder):
    try:
        return sorted(name for name in os.listdir(folder) if NAME.fullmatch(name))
    except FileNotFoundError:
        # Never made, or removed by another command meanwhile.
        return []


def all_labs():
    return [Lab(name) for name in names_in(LABS)]


def find_lab(name):
    lab = Lab(name)
    if not lab.is_made:
        raise LabError(f"there is no lab {name}", f"make it: ops/lab create {name}")
    return lab


def find_cluster(lab_name, name):
    nodes = find_lab(lab_name).cluster(name)
    if not nodes:
        raise LabError(f"lab {lab_name} has no node or cluster {name}", f"see what there is: ops/lab ls {lab_name}")
    return nodes


def find_node(lab_name, name):
    node = Node(find_lab(lab_name), name)
    # A half-made node counts: its maker's hint is to look inside it.
    if not node.data:
        raise LabError(f"lab {lab_name} has no node {name}", f"see what there is: ops/lab ls {lab_name}")
    return node

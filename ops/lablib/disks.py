"""Small disks of a node's own (ext4 in a file, on a loop device), so that a test can really fill one."""

import re

from .errors import UsageError
from .run import run

SIZE = re.compile(r"(\d+)([KMG])")
UNITS = {"K": 10, "M": 20, "G": 30}


def parse(text):
    """PATH=SIZE, for instance /var/lib/etcd=64M."""
    path, _, size = text.partition("=")
    matched = SIZE.fullmatch(size)
    if not path.startswith("/") or ".." in path or not matched:
        raise UsageError(f"{text!r} is not a disk", "write PATH=SIZE, for instance --disk /var/lib/etcd=64M")
    return {"path": path.rstrip("/"), "size": int(matched[1]) << UNITS[matched[2]]}


def files(node):
    """(file, size, mount point in the node's root) of each disk."""
    return [(node.directory / f"disk{number}.ext4", disk["size"], node.root / disk["path"].lstrip("/"))
            for number, disk in enumerate(node.data.get("disks", []))]


def create(node):
    for file, size, point in files(node):
        with open(file, "wb") as handle:
            handle.truncate(size)
        # No reserved blocks: a full disk is full for root as well as for etcd.
        run(["mkfs.ext4", "-q", "-m", "0", str(file)])
        point.mkdir(parents=True, exist_ok=True)
    mount(node)
    for _, _, point in files(node):
        # etcd warns of a directory in its data directory that it does not know.
        (point / "lost+found").rmdir()


def mount(node):
    for file, _, point in files(node):
        if run(["mountpoint", "--quiet", str(point)], check=False).returncode != 0:
            run(["mount", "-o", "loop", str(file), str(point)])


def detach(node):
    """Free loop devices that a killed mount left attached to this node's files."""
    for device, file in attached():
        if file.startswith(f"{node.directory}/"):
            run(["losetup", "--detach", device])


def attached():
    """(loop device, file) of every loop device in use."""
    listed = run(["losetup", "--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"], check=False).stdout
    return [tuple(line.split(" ", 1)) for line in listed.splitlines() if " " in line]

"""The machine's own tools and package source."""

import os
import shutil

from .errors import LabError
from .run import run

TOOLS = {"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container", "ip": "iproute2", "openssl": "openssl",
         "nsenter": "util-linux", "setpriv": "util-linux", "mount": "mount", "mkfs.ext4": "e2fsprogs",
         "g++": "g++"}


def missing():
    return [package for tool, package in TOOLS.items() if not shutil.which(tool)]


def install():
    packages = missing()
    if not packages:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], seconds=300, env=environment)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], seconds=600, env=environment)


def require():
    packages = missing()
    if packages:
        raise LabError(f"not installed: {', '.join(packages)}", "run: ops/lab prepare")


def check_filesystem(directory):
    """Nodes and containers are overlays on this directory, and the kernel stacks them only on a real disk."""
    directory.mkdir(parents=True, exist_ok=True)
    kind = run(["stat", "--file-system", "--format=%T", str(directory)]).stdout.strip()
    if kind in ("overlayfs", "tmpfs"):
        raise LabError(f"{directory} is on {kind}", "set ETCD_FLEET_LAB_DIR to a directory on a disk's own filesystem")


def debian_mirror(suite):
    """Where this machine's apt gets Debian's `suite` from."""
    listed = run(["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(ORIGIN) $(REPO_URI)",
                  "Created-By: Packages"]).stdout
    for line in listed.splitlines():
        words = line.split()
        if words[:3] == [suite, "main", "Debian"]:
            return words[3]
    raise LabError(f"this machine's apt has no source for Debian {suite}",
                   "add one to /etc/apt/sources.list.d, then: apt-get update")

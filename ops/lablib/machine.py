"""Booting a node and switching it off: systemd-nspawn over an overlay of the base, in the node's own namespaces."""

import os
import subprocess
import uuid
from pathlib import Path

from . import cgroups, disks, images, network, processes
from .entry import ENVIRONMENT, environment, init_pid, into
from .errors import LabError
from .run import run, wait_for

BOOT_SECONDS = 90
# Called with the number of groups, the groups, the command.
JOIN_AND_BECOME = """left=$1; shift
while [ "$left" -gt 0 ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; left=$((left - 1)); done
exec "$@"
"""


def mount_points(below):
    """What is mounted at or below a directory, innermost first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point == str(below) or point.startswith(f"{below}/"):
            found.append(point)
    return found[::-1]


def unmount_below(directory):
    for point in mount_points(directory):
        if run(["umount", point], check=False).returncode != 0:
            # Busy: take it out of the tree now, the kernel lets go when its last user does.
            run(["umount", "--lazy", point])


def lay_out(node):
    """The node's directories and its root: a writable layer over the base."""
    for name in ("upper", "work", "root", "containers"):
        (node.directory / name).mkdir(exist_ok=True)
    mount_root(node)
    (node.root / "etc/machine-id").write_text(uuid.uuid4().hex + "\n")
    (node.root / "etc/hostname").write_text(node.name + "\n")


def mount_root(node):
    if str(node.root) in mount_points(node.root):
        return
    layers = f"lowerdir={images.ROOTFS},upperdir={node.directory / 'upper'},workdir={node.directory / 'work'}"
    run(["mount", "-t", "overlay", "overlay", "-o", layers, str(node.root)])


def boot(node):
    """Start the node and wait until its systemd has started everything, save an etcd that waits for its cluster."""
    if init_pid(node) is not None:
        raise LabError(f"node {node.name} is on already")
    power_off(node)
    mount_root(node)
    disks.mount(node)
    groups = cgroups.create(node.lab.name, node.name)
    command = [
        "systemd-nspawn", "--quiet", "--boot", f"--directory={node.root}", f"--machine={node.machine}",
        f"--hostname={node.name}", f"--network-namespace-path={network.NAMESPACES / node.netns}",
        "--register=no", "--keep-unit", "--capability=all", "--system-call-filter=@known", "--resolv-conf=off",
        "--timezone=off", "--console=pipe", f"--bind={node.containers}:/var/lib/containers",
        f"--bind-ro={images.STORE}:/usr/share/container-images"]
    # It enters the node's groups before it becomes systemd-nspawn: from its first instruction on, everything
    # of the node can be found there, even when this command dies before it notes the pid. A shell does that,
    # since Python must not run between fork and exec while other nodes boot in other threads.
    with open(node.console, "ab") as console:
        child = subprocess.Popen(["/bin/sh", "-c", JOIN_AND_BECOME, "sh", str(len(groups)), *map(str, groups), *command],
                                 stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                                 env=ENVIRONMENT)
    node.save(supervisor=processes.identify(child.pid))

    def started():
        if child.poll() is not None:
            raise LabError(f"node {node.name} did not start: {last_lines(node.console)}", f"see {node.console}")
        return init_pid(node)

    wait_for(f"the init of node {node.name}", started, 20, 0.05, f"see {node.console}")
    wait_for_systemd(node, lambda: is_up(node) or waits_for_etcd(node))


def wait_for_systemd(node, probe):
    wait_for(f"systemd on node {node.name}", probe, BOOT_SECONDS, 0.2,
             f"see {node.console} and: ops/lab exec {node.lab.name} {node.name} -- systemctl list-jobs")


def is_up(node):
    return system_state(node) in ("running", "degraded")


def system_state(node):
    return run([*inside(node), "systemctl", "is-system-running"], seconds=20, check=False).stdout.strip()


def waits_for_etcd(node):
    """All that systemd is still at is etcd, whose unit counts as started only when its cluster has a leader."""
    if system_state(node) != "starting":
        return False
    jobs = run([*inside(node), "systemctl", "list-jobs", "--plain", "--no-legend"], seconds=20, check=False).stdout
    return {words[1] for words in map(str.split, jobs.splitlines()) if words[3:] == ["running"]} == {"etcd.service"}


def last_lines(path):
    return " | ".join(path.read_text(errors="replace").strip().splitlines()[-3:])


def inside(node):
    """The command line that runs what follows it inside a running node, or in the root of one that is off."""
    pid = init_pid(node)
    if pid is not None:
        return into(pid)
    mount_root(node)
    return ["chroot", str(node.root), *environment()]


def power_off(node):
    """As pulling the plug: SIGKILL to systemd-nspawn and to everything below it, at once."""
    processes.kill_identified(node.data.get("supervisor"))
    groups = cgroups.groups(node.lab.name, node.name)
    cgroups.kill(groups)
    cgroups.remove(groups)


def take_down(node):
    """Remove everything of a node, however much of it there is."""
    if node.data is None:
        node.data = {}
    power_off(node)
    network.remove_namespace(node.netns)
    unmount_below(node.directory)
    disks.detach(node)
    node.remove_directory()

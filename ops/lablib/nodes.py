"""What is done with nodes that exist: boot them, wait until their etcd serves, copy files in and out."""

import json
import subprocess
from pathlib import Path

from . import access, machine, network
from .errors import LabError
from .run import in_parallel, run, wait_for

ETCD_SECONDS = 60


def boot(nodes, wait):
    """Start nodes that are off, at once, on the network they had."""
    if not network.exists(nodes[0].lab.switch):
        # The machine itself was rebooted: namespaces are gone, directories are not.
        network.make_switch(nodes[0].lab)
    in_parallel(boot_one, nodes)
    if wait:
        in_parallel(lambda node: wait_until_healthy([node]), nodes)


def boot_one(node):
    if not network.exists(node.netns):
        network.plug(node)
    machine.boot(node)
    write_hosts(node)


def write_hosts(node):
    """Every node of a lab knows every other by name."""
    lines = ["127.0.0.1 localhost", *(f"{one.address} {one.name}" for one in node.lab.nodes() if one.data)]
    run([*machine.inside(node), "/bin/sh", "-c", "cat >/etc/hosts"], stdin="\n".join(lines) + "\n")


def wait_until_healthy(nodes):
    """Until each etcd answers a linearizable read, all agree on the leader, and control planes are ready."""
    if nodes[0].kind == "plain":
        return
    for node in nodes:
        wait_for_etcd(node)
    if len(nodes) > 1:
        wait_for(f"one leader of the cluster {nodes[0].data['cluster']}", lambda: have_one_leader(nodes), ETCD_SECONDS,
                 0.3, f"see: ops/lab etcdctl {nodes[0].lab.name} {nodes[0].data['cluster']} -- endpoint status")
    for node in nodes:
        if node.kind == "stacked":
            wait_for(f"the control plane's containers on node {node.name}", lambda: apiserver_ready(node), ETCD_SECONDS,
                     0.3, journal_hint(node))
        machine.wait_for_systemd(node, lambda: machine.is_up(node))


def wait_for_etcd(node):
    def healthy():
        asked = run([*access.etcdctl(access.of_node(node)), "--command-timeout=2s", "endpoint", "health"], seconds=20,
                    check=False)
        return asked.returncode == 0

    wait_for(f"etcd on node {node.name}", healthy, ETCD_SECONDS, 0.3, journal_hint(node))


def journal_hint(node):
    return f"see: ops/lab exec {node.lab.name} {node.name} -- journalctl -u " + \
           ("etcd" if node.kind == "external" else "kubelet")


def have_one_leader(nodes):
    """Every member answers, and names the same leader and the same cluster."""
    asked = run([*access.etcdctl(access.of_cluster(nodes)), "--command-timeout=2s", "endpoint", "status",
                 "--write-out=json"], seconds=20, check=False)
    if asked.returncode != 0:
        return False
    said = [one["Status"] for one in json.loads(asked.stdout)]
    agreed = {(one.get("leader", 0), one["header"]["cluster_id"]) for one in said}
    return len(said) == len(nodes) and len(agreed) == 1 and agreed.pop()[0] != 0


def apiserver_ready(node):
    """The stand-in answers in HTTP/1.0 and closes, so a plain TLS client is enough."""
    asked = run(["nsenter", f"--net={network.NAMESPACES / node.netns}", "openssl", "s_client", "-quiet", "-connect",
                 f"{node.address}:6443"], seconds=10, check=False, stdin="GET /readyz HTTP/1.0\r\n\r\n")
    return " 200 " in asked.stdout.partition("\n")[0]


def push(node, source, target, mode):
    """Copy a file in: beside its target first, then renamed, so that a program being run can be replaced."""
    script = 'part="$1.lab-part" && cat >"$part" && chmod "$2" "$part" && mv -fT "$part" "$1"'
    copy(node, ["/bin/sh", "-c", f'mkdir -p "$(dirname "$1")" && {script}', "sh", target, mode], source, None)


def pull(node, source, target):
    part = Path(f"{target}.lab-part")
    copy(node, ["/bin/cat", "--", source], None, part)
    part.rename(target)


def copy(node, command, source, target, seconds=120):
    try:
        with open(source or "/dev/null", "rb") as reader, open(target or "/dev/null", "wb") as writer:
            done = subprocess.run([*machine.inside(node), *command], stdin=reader, stdout=writer,
                                  stderr=subprocess.PIPE, timeout=seconds)
    except OSError as error:
        raise LabError(f"{error.filename}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"copying took longer than {seconds} s", "is the node's disk hanging?") from None
    if done.returncode != 0:
        if target:
            target.unlink()
        raise LabError(f"copying failed: {done.stderr.decode(errors='replace').strip()}")

"""Making a node: its record, network, root, what its kind adds, and the wait until its etcd answers."""

import subprocess
from pathlib import Path

from . import disks, external, images, machine, network, stacked
from .errors import LabError, UsageError
from .etcd_config import CLIENT_PORT, Member
from .run import run, wait_for
from .state import Node, locked

KINDS = ("plain", "external", "stacked")
FIRST_HOST = 11
ETCD_SECONDS = 60


def make(lab, name, kind, layout, etcd, disk_texts, start):
    images.require_prepared()
    wanted_disks = [disks.parse(text) for text in disk_texts]
    if kind != "external" and (layout or (etcd and kind == "stacked")):
        raise UsageError("--layout and --etcd 3.4 are for --kind external", "a stacked node has etcd 3.5.1")
    node = Node(lab, name)
    if node.is_made:
        raise LabError(f"lab {lab.name} has a node {name} already")
    with locked("labs"):
        node = Node(lab, name)
        if node.is_being_made:
            raise LabError(f"node {name} is being made by process {node.data['maker']['pid']}", "wait for it")
        # What a killed command left under this name, whatever there is of it.
        machine.take_down(node)
        node = Node(lab, name)
        taken = {other.data["number"] for other in lab.nodes() if other.data}
        number = next(one for one in range(FIRST_HOST, 255) if one not in taken)
        node.begin(kind=kind, layout=layout or ("debian" if kind == "external" else None), etcd=etcd, number=number,
                   address=f"10.97.{lab.data['subnet']}.{number}", cluster=name, disks=wanted_disks)
    network.plug(node)
    machine.lay_out(node)
    disks.create(node)
    member = Member(name, node.address)
    if kind == "external":
        external.set_up(node, member, [member])
    elif kind == "stacked":
        stacked.set_up(node, member, [member])
    else:
        leave_plain(node)
    if start:
        write_hosts(node)
        machine.boot(node)
        wait_until_healthy(node)
    node.save(made=True)
    for other in lab.nodes():
        if other.is_made:
            write_hosts(other)
    return node


def boot(node, wait):
    """Start a node that is off, on the network it had."""
    if not network.exists(node.lab.switch):
        # The machine itself was rebooted: namespaces are gone, directories are not.
        network.make_switch(node.lab)
    if not network.exists(node.netns):
        network.plug(node)
    machine.boot(node)
    write_hosts(node)
    if wait:
        wait_until_healthy(node)


def leave_plain(node):
    """Nothing but systemd; --etcd adds that version's tools for a host that works with snapshots."""
    for name in ("etcd", "etcdctl"):
        program = node.root / "usr/bin" / name
        if node.data["etcd"] != "3.4":
            program.unlink()
    (node.root / "lib/systemd/system/etcd.service").unlink()
    if node.data["etcd"] == "3.5":
        for name in ("etcd", "etcdctl", "etcdutl"):
            images.install_file(images.ETCD / name, node.root / "usr/local/bin" / name)


def write_hosts(node):
    """Every node of a lab knows every other by name."""
    lines = ["127.0.0.1 localhost", *(f"{one.address} {one.name}" for one in node.lab.nodes() if one.data)]
    run([*machine.inside(node), "/bin/sh", "-c", "cat >/etc/hosts"], stdin="\n".join(lines) + "\n")


def wait_until_healthy(node):
    """For the kinds with etcd: until it takes part in its cluster and answers a linearizable read."""
    if node.kind == "plain":
        return
    hint = f"see: ops/lab exec {node.lab.name} {node.name} -- journalctl -u " + \
           ("kubelet" if node.kind == "stacked" else "etcd")

    def healthy():
        asked = run([*etcdctl_command(node), "--command-timeout=2s", "endpoint", "health"], seconds=20, check=False)
        return asked.returncode == 0

    wait_for(f"etcd on node {node.name}", healthy, ETCD_SECONDS, 0.3, hint)
    if node.kind == "stacked":
        wait_for(f"the control plane's containers on node {node.name}", lambda: apiserver_ready(node), ETCD_SECONDS,
                 0.3, hint)


def apiserver_ready(node):
    """The stand-in answers in HTTP/1.0 and closes, so a plain TLS client is enough."""
    asked = run(["nsenter", f"--net={network.NAMESPACES / node.netns}", "openssl", "s_client", "-quiet", "-connect",
                 f"{node.address}:6443"], seconds=10, check=False, stdin="GET /readyz HTTP/1.0\r\n\r\n")
    return " 200 " in asked.stdout.partition("\n")[0]


def etcdctl_command(node):
    """The static etcdctl of the lab itself in the node's network, with the node's administrator certificate."""
    client = node.data.get("client")
    if not client:
        raise LabError(f"node {node.name} has no etcd", "it is of kind plain")
    machine.mount_root(node)
    settings = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": f"https://127.0.0.1:{CLIENT_PORT}",
                "ETCDCTL_CACERT": node.root / client["authority"].lstrip("/"),
                "ETCDCTL_CERT": node.root / client["certificate"].lstrip("/"),
                "ETCDCTL_KEY": node.root / client["key"].lstrip("/")}
    return ["nsenter", f"--net={network.NAMESPACES / node.netns}", "/usr/bin/env", "-i", "PATH=/usr/bin:/bin",
            *(f"{name}={value}" for name, value in settings.items()), str(images.ETCD / "etcdctl")]


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

"""Making the nodes of a cluster, one or several: records, networks, roots, what their kind adds, and the start."""

import shutil
from dataclasses import dataclass

from . import disks, external, images, joining, machine, network, nodes, stacked, static_etcd
from .errors import LabError, UsageError
from .etcd_config import Cluster, Member
from .pki import Authority
from .run import in_parallel
from .state import Node, check_name, locked

KINDS = {"plain": None, "external": external.set_up, "stacked": stacked.set_up, "static": static_etcd.set_up}
CLUSTER_KINDS = tuple(kind for kind, set_up in KINDS.items() if set_up)
FIRST_HOST = 11
MOST_MEMBERS = 9


@dataclass(frozen=True)
class Plan:
    """What was asked for; `layouts` has one for each of `names`, or None where the kind knows none."""

    cluster: str
    names: tuple
    kind: str
    layouts: tuple
    etcd: str
    disks: list
    wal_dir: str


def plan(cluster, names, kind, layouts_text, etcd, disk_texts, wal_dir):
    """Check the options against each other, before anything is touched."""
    if kind != "external" and (layouts_text or wal_dir):
        raise UsageError("--layout and --wal-dir are for --kind external", "the other kinds are laid out in one way")
    layouts = layouts_text.split(",") if layouts_text else ["debian"]
    unknown = [one for one in layouts if one not in external.LAYOUTS]
    if unknown:
        raise UsageError(f"there is no layout {unknown[0]}", f"choose from: {' '.join(external.LAYOUTS)}")
    if len(layouts) not in (1, len(names)):
        raise UsageError(f"{len(layouts)} layouts are given for {len(names)} members", "give one for all, or one for each")
    layouts = layouts * len(names) if len(layouts) == 1 else layouts
    wanted_disks = [disks.parse(text) for text in disk_texts]
    if wal_dir:
        external.check_wal_dir(wal_dir, wanted_disks)
    return Plan(cluster, tuple(names), kind, tuple(layouts) if kind == "external" else (None,) * len(names), etcd,
                wanted_disks, wal_dir)


def member_names(cluster, text):
    """--members: a number, or names."""
    check_name("cluster", cluster)
    names = ([f"{cluster}-{number}" for number in range(1, int(text) + 1)] if text.isdigit() and len(text) < 3
             else text.split(","))
    if not 1 <= len(names) <= MOST_MEMBERS or len(set(names)) != len(names) or not all(names):
        raise UsageError(f"{text!r} are no members", f"give a number up to {MOST_MEMBERS}, or that many different names")
    for name in names:
        check_name("node", name)
    if cluster in names:
        raise UsageError(f"{cluster} cannot name the cluster and one of its members", "use another name for one of them")
    return names


def make(lab, wanted, start):
    """Make all nodes at once; returns when their etcd serves, with one leader."""
    images.require_prepared()
    made = reserve(lab, wanted)
    members = tuple(Member(node.name, node.address,
                           external.member_name(layout, node.name, position, len(made)))
                    for position, (node, layout) in enumerate(zip(made, wanted.layouts), 1))
    directory = lab.cluster_directory(wanted.cluster)
    cluster = Cluster(members, external.token(wanted.cluster, wanted.layouts), Authority(directory, "etcd-ca"))
    if wanted.kind == "stacked":
        # Made here, once: the members' own threads find it.
        stacked.kubernetes_authority(made[0])
    in_parallel(lambda pair: build(*pair, cluster, start), list(zip(made, members)))
    if start and wanted.kind == "stacked" and len(made) > 1:
        joining.join_all(made, cluster)
    if start:
        nodes.wait_until_healthy(made)
    for node in made:
        node.save(made=True)
    for other in lab.nodes():
        if other.is_made:
            nodes.write_hosts(other)


def reserve(lab, wanted):
    """The records of all nodes, with their addresses; what a killed command left under the names goes first."""
    with locked("labs"):
        for node in lab.nodes():
            if node.name in wanted.names or (node.data and node.data["cluster"] == wanted.cluster):
                make_way(node, wanted)
        # Its authorities go with a cluster that was never finished: a killed command may have written half of one.
        shutil.rmtree(lab.cluster_directory(wanted.cluster), ignore_errors=True)
        taken = {other.data["number"] for other in lab.nodes() if other.data}
        numbers = [one for one in range(FIRST_HOST, 255) if one not in taken]
        if len(numbers) < len(wanted.names):
            raise LabError(f"lab {lab.name} has no addresses left", "make another lab: ops/lab create LAB")
        made = [Node(lab, name) for name in wanted.names]
        for node, layout, number in zip(made, wanted.layouts, numbers):
            node.begin(kind=wanted.kind, layout=layout, etcd=wanted.etcd, number=number, cluster=wanted.cluster,
                       address=f"10.97.{lab.data['subnet']}.{number}", members=list(wanted.names), disks=wanted.disks,
                       wal_dir=wanted.wal_dir)
    return made


def make_way(node, wanted):
    """Take down what nobody is at work on; anything else stays, and stops this command."""
    if node.is_being_made:
        raise LabError(f"node {node.name} is being made by process {node.data['maker']['pid']}", "wait for it")
    if not node.is_abandoned:
        same = node.data["cluster"] == wanted.cluster != node.name
        found = f"cluster {wanted.cluster}" if same else f"node {node.name}"
        raise LabError(f"lab {node.lab.name} has a {found} already", "use another name, or another lab")
    machine.take_down(node)


def build(node, member, cluster, start):
    network.plug(node)
    machine.lay_out(node)
    disks.create(node)
    set_up = KINDS[node.kind]
    if set_up:
        set_up(node, member, cluster)
    else:
        leave_plain(node)
    if start:
        nodes.write_hosts(node)
        machine.boot(node)


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

"""How this machine speaks to a node's etcd, or to all of a cluster's: from which network, where, with which certificate."""

import sys
from dataclasses import dataclass
from pathlib import Path

from . import images, machine, network
from .errors import LabError
from .etcd_config import CLIENT_PORT
from .state import Node, find_cluster, find_lab

WATCHER = Path(__file__).with_name("watcher.py")


@dataclass(frozen=True)
class Access:
    netns: str
    endpoints: tuple
    authority: Path
    certificate: Path
    key: Path


def of_node(node):
    """A node's own etcd in the node's own network, with the node's administrator certificate."""
    client = client_of(node)
    return Access(node.netns, (client.get("endpoint", f"https://127.0.0.1:{CLIENT_PORT}"),), *credentials(node, client))


def of_cluster(nodes):
    """All members from the lab's switch, so that no node need be on or plugged in."""
    found = [client_of(node) for node in nodes]
    return Access(nodes[0].lab.switch, tuple(f"https://{node.address}:{CLIENT_PORT}" for node in nodes),
                  *credentials(nodes[0], found[0]))


def named(lab_name, name):
    """A node's name means that node, any other name the cluster."""
    node = Node(find_lab(lab_name), name)
    return of_node(node) if node.data else of_cluster(find_cluster(lab_name, name))


def client_of(node):
    if not node.data.get("client"):
        raise LabError(f"node {node.name} has no etcd", "it is of kind plain")
    return node.data["client"]


def credentials(node, client):
    machine.mount_root(node)
    return [node.root / client[name].lstrip("/") for name in ("authority", "certificate", "key")]


def inside_network(there):
    return ["nsenter", f"--net={network.NAMESPACES / there.netns}"]


def etcdctl(there):
    """The static etcdctl of the lab itself; what comes from the caller's environment does not count."""
    settings = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": ",".join(there.endpoints), "ETCDCTL_CACERT": there.authority,
                "ETCDCTL_CERT": there.certificate, "ETCDCTL_KEY": there.key}
    return [*inside_network(there), "/usr/bin/env", "-i", "PATH=/usr/bin:/bin",
            *(f"{name}={value}" for name, value in settings.items()), str(images.ETCD / "etcdctl")]


def watcher(there, words):
    return [*inside_network(there), sys.executable, "-B", str(WATCHER), f"--authority={there.authority}",
            f"--certificate={there.certificate}", f"--key={there.key}",
            *(f"--endpoint={one}" for one in there.endpoints), *words]

"""A lab's network: a namespace that holds a bridge, and a cable from it to each node's namespace.

Nothing of it is in the machine's own network namespace, and there is no way out of it.
"""

from pathlib import Path

from . import processes
from .run import run
from .state import NETNS_PREFIX

NAMESPACES = Path("/run/netns")
BRIDGE = "switch"
# The coordinator and every etcd of a lab share one /24.
PREFIX_LENGTH = 24


def exists(netns):
    return (NAMESPACES / netns).exists()


def in_namespace(netns, *words):
    """`ip` in a namespace."""
    return run(["ip", "-n", netns, *words])


def make_namespace(netns):
    """A fresh namespace with loopback up; what a killed command left under the name is dropped first."""
    remove_namespace(netns)
    run(["ip", "netns", "add", netns])
    in_namespace(netns, "link", "set", "lo", "up")


def remove_namespace(netns):
    if exists(netns):
        # Between its two steps `ip netns add` leaves a plain file, which `ip netns delete` removes as well.
        run(["ip", "netns", "delete", netns])


def make_switch(lab):
    make_namespace(lab.switch)
    in_namespace(lab.switch, "link", "add", BRIDGE, "type", "bridge")
    in_namespace(lab.switch, "link", "set", BRIDGE, "up")
    # From here the lab looks at clusters as a whole, whatever node is off or unplugged.
    in_namespace(lab.switch, "address", "add", f"10.97.{lab.data['subnet']}.1/{PREFIX_LENGTH}", "dev", BRIDGE)


def port(node):
    """The switch's end of the node's cable."""
    return f"port{node.data['number']}"


def plug(node):
    """Give the node a namespace, cabled to the switch, with its address on eth0."""
    make_namespace(node.netns)
    switch = node.lab.switch
    if run(["ip", "-n", switch, "link", "show", port(node)], check=False).returncode == 0:
        in_namespace(switch, "link", "delete", port(node))
    in_namespace(switch, "link", "add", port(node), "type", "veth", "peer", "name", "eth0", "netns", node.netns)
    in_namespace(switch, "link", "set", port(node), "master", BRIDGE, "up")
    in_namespace(node.netns, "address", "add", f"{node.address}/{PREFIX_LENGTH}", "dev", "eth0")
    in_namespace(node.netns, "link", "set", "eth0", "up")


def set_cable(node, state):
    """Pull or plug the cable at the switch: the node keeps its address and sees its carrier go."""
    in_namespace(node.lab.switch, "link", "set", port(node), state)


def is_cable_up(node):
    shown = run(["ip", "-n", node.lab.switch, "-o", "link", "show", port(node)], check=False).stdout
    return ",UP" in shown.partition(">")[0]


def namespaces():
    """The names of all namespaces of this state directory's labs."""
    return sorted(one.name for one in NAMESPACES.glob(f"{NETNS_PREFIX}*")) if NAMESPACES.is_dir() else []


def processes_in(netns):
    """Pids that live in a named namespace, so that none outlives it unseen."""
    try:
        wanted = (NAMESPACES / netns).stat().st_ino
    except FileNotFoundError:
        return []
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "ns/net").stat().st_ino == wanted and processes.start_time(int(entry.name)) is not None:
                found.append(int(entry.name))
        except OSError:
            pass
    return found

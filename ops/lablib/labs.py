"""Making a lab and describing what there is."""

import os

from . import cleanup, entry, machine, network, processes
from .errors import LabError, UsageError
from .state import Lab, all_labs, locked


def create(name, owner_text):
    """A lab with its switch; what a killed command left under the name goes first."""
    owner = owner_of(owner_text)
    lab = Lab(name)
    if lab.is_made and lab.is_owned:
        raise LabError(f"there is a lab {name} already", f"remove it: ops/lab destroy {name}")
    if lab.is_being_made:
        raise LabError(f"lab {name} is being made by process {lab.data['maker']['pid']}", "wait for it")
    cleanup.destroy(lab)
    with locked("labs"):
        lab = Lab(name)
        # Labs cannot reach each other; different addresses only keep logs readable.
        taken = {other.data["subnet"] for other in all_labs() if other.data}
        subnet = next((one for one in range(1, 255) if one not in taken), None)
        if subnet is None:
            raise LabError("all subnets are taken", "run: ops/lab clean")
        lab.begin(subnet=subnet, owner=owner)
    network.make_switch(lab)
    lab.save(made=True)


def owner_of(text):
    """Whoever ran this command, unless told otherwise."""
    if text == "none":
        return None
    if text is not None and not text.isdigit():
        raise UsageError(f"{text!r} is no owner", "give a pid, or none")
    owner = processes.identify(int(text) if text else os.getppid())
    if owner["start"] is None:
        raise UsageError(f"process {owner['pid']} does not run", "give the pid of a process that does")
    return owner


def any_lab(name):
    """A lab to be destroyed: half of one will do."""
    lab = Lab(name)
    if not lab.directory.exists() and name not in cleanup.strays():
        raise LabError(f"there is no lab {name}", "see what there is: ops/lab ls")
    return lab


def describe(lab):
    data = lab.data or {}
    return {"lab": lab.name, "subnet": data.get("subnet"), "owned": lab.is_owned,
            "nodes": [describe_node(node) for node in lab.nodes()]}


def describe_node(node):
    data = node.data or {}
    pid = entry.init_pid(node) if data else None
    state = ("on" if pid else "off") if node.is_made else "half-made"
    return {"node": node.name, "address": data.get("address"), "kind": data.get("kind"), "layout": data.get("layout"),
            "cluster": data.get("cluster"),
            "state": state, "pid": pid, "root": str(node.root),
            "link": "up" if data and network.is_cable_up(node) else "down"}

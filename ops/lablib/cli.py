"""The commands of ops/lab: options in, one function each, exit status out (0 done, 1 failed, 2 used wrongly)."""

import argparse
import json
import os
import sys

from . import entry
from .errors import LabError, UsageError
from .later import Later
from .run import in_parallel
from .state import all_labs, find_lab, find_node

access, cleanup, external, images, labs, machine, making, mishaps, network, nodes = (
    Later(f"{__package__}.{name}") for name in (
        "access", "cleanup", "external", "images", "labs", "machine", "making", "mishaps", "network", "nodes"))


def prepare(arguments):
    images.prepare()


def create(arguments):
    labs.create(arguments.lab, arguments.owner)


def node(arguments):
    wanted = making.plan(arguments.node, [arguments.node], arguments.kind, arguments.layout, arguments.etcd,
                         arguments.disk, arguments.wal_dir)
    making.make(find_lab(arguments.lab), wanted, not arguments.no_start)


def cluster(arguments):
    names = making.member_names(arguments.cluster, arguments.members)
    wanted = making.plan(arguments.cluster, names, arguments.kind, arguments.layout, arguments.etcd, arguments.disk,
                         arguments.wal_dir)
    making.make(find_lab(arguments.lab), wanted, True)


def exec_(arguments):
    there = find_node(arguments.lab, arguments.node)
    command = [*entry.into(entry.require_init(there)), *arguments.command]
    entry.enter_groups(there)
    replace_by(command)


def etcdctl(arguments):
    replace_by([*access.etcdctl(access.named(arguments.lab, arguments.node)), *arguments.command])


def watch(arguments):
    words = [f"--seconds={arguments.seconds}", f"--prefix={arguments.prefix}"]
    words += [f"--from={arguments.from_revision}"] if arguments.from_revision else []
    words += [f"--until={arguments.until}"] if arguments.until else []
    replace_by(access.watcher(access.named(arguments.lab, arguments.node), words))


def replace_by(command):
    """Become the command: signals, standard streams and the exit status pass through with nobody between."""
    os.execvp(command[0], command)


def push(arguments):
    nodes.push(find_node(arguments.lab, arguments.node), arguments.source, arguments.target, arguments.mode)


def pull(arguments):
    nodes.pull(find_node(arguments.lab, arguments.node), arguments.source, arguments.target)


def address(arguments):
    print(find_node(arguments.lab, arguments.node).address)


def root(arguments):
    there = find_node(arguments.lab, arguments.node)
    machine.mount_root(there)
    print(there.root)


def pid(arguments):
    print(entry.require_init(find_node(arguments.lab, arguments.node)))


def ls(arguments):
    chosen = [find_lab(arguments.lab)] if arguments.lab else all_labs()
    described = [labs.describe(lab) for lab in chosen]
    if arguments.output == "json":
        print(json.dumps(described, indent=1))
        return
    for lab in described:
        print(f"{lab['lab']}  10.97.{lab['subnet']}.0/24  {'owned' if lab['owned'] else 'nobody owns it'}")
        for one in lab["nodes"]:
            print(f"  {one['node']:<16} {one['address']:<15} {one['state']:<9} link {one['link']:<5} "
                  f"{one['kind']} {one['layout'] or ''}".rstrip()
                  + (f" of {one['cluster']}" if one["cluster"] not in (None, one["node"]) else ""))


def power_off(arguments):
    in_parallel(machine.power_off, [find_node(arguments.lab, name) for name in arguments.node])


def boot(arguments):
    nodes.boot([find_node(arguments.lab, name) for name in arguments.node], not arguments.no_wait)


def link(arguments):
    network.set_cable(find_node(arguments.lab, arguments.node), arguments.state)


def certificate(arguments):
    mishaps.set_certificate(find_node(arguments.lab, arguments.node), arguments.state)


def clock(arguments):
    mishaps.set_clock(find_node(arguments.lab, arguments.node), arguments.unit, arguments.state)


def destroy(arguments):
    cleanup.destroy(labs.any_lab(arguments.lab))


def clean(arguments):
    for name in cleanup.clean(arguments.all):
        print(f"removed {name}")


def doctor(arguments):
    found = cleanup.leftovers(arguments.lab)
    for line in found:
        print(line)
    if found:
        raise LabError(f"{len(found)} things are left behind", "run: ops/lab clean (or ops/lab destroy LAB)")


def parser(verb):
    """For all verbs; the options of those that make nodes are complete where `verb` is one of them."""
    making_nodes = verb in ("node", "cluster")
    kinds, cluster_kinds, layouts = (
        (tuple(making.KINDS), making.CLUSTER_KINDS, ", ".join(external.LAYOUTS)) if making_nodes else (None, None, ""))
    top = argparse.ArgumentParser(prog="ops/lab", description="A test lab of real nodes on one machine; see ops/lab.md.")
    commands = top.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def add(name, function, text, *where):
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(function=function)
        for argument in where:
            one.add_argument(argument)
        return one

    add("prepare", prepare, "install the tools and build the base images")
    one = add("create", create, "make a lab with a network of its own", "lab")
    one.add_argument("--owner", metavar="PID",
                     help="the process whose end frees the lab for clean (default: the caller), or none")
    for name, function, text, choices, layout in (
            ("node", node, "make a node and boot it until it is ready", kinds, "L"),
            ("cluster", cluster, "make the nodes of an etcd cluster and boot them until it serves", cluster_kinds, "L[,L...]")):
        one = add(name, function, text, "lab", name)
        one.add_argument("--kind", choices=choices, required=True)
        one.add_argument("--layout", metavar=layout,
                         help=f"of an external etcd: {layouts} (default: debian)")
        one.add_argument("--etcd", choices=("3.4", "3.5"), help="version (default: the layout's usual one)")
        one.add_argument("--disk", metavar="PATH=SIZE", action="append", default=[],
                         help="a small ext4 at PATH, for instance /var/lib/etcd=64M")
        one.add_argument("--wal-dir", metavar="PATH",
                         help="an external etcd's log in a directory of its own, for instance /var/lib/etcd-wal/wal")
        if name == "node":
            one.add_argument("--no-start", action="store_true", help="make it, leave it off")
        else:
            one.add_argument("--members", metavar="N|NAME,NAME...", default="3",
                             help="how many, named CLUSTER-1 and so on, or their names (default: 3)")
    for name, function, text in (
            ("exec", exec_, "run a command inside a node"),
            ("etcdctl", etcdctl, "run etcdctl 3.5.1 against a node's etcd, or all of a cluster's")):
        add(name, function, text + "; write -- before it", "lab", "node").add_argument("command", nargs="*")
    one = add("watch", watch, "list and watch a node's etcd, or a cluster's, as a Kubernetes client does", "lab", "node")
    one.add_argument("--prefix", default="/registry/", help="of the keys (default: /registry/)")
    one.add_argument("--from", dest="from_revision", metavar="REVISION", type=int,
                     help="go on from here, as a client that was away, instead of listing")
    one.add_argument("--seconds", type=int, default=300, help="how long (default: 300)")
    one.add_argument("--until", metavar="WHAT", help="stop once this was seen, exit 1 if it never was; see ops/lab.md")
    add("push", push, "copy a file into a node", "lab", "node", "source", "target").add_argument("--mode", default="0644")
    add("pull", pull, "copy a file out of a node", "lab", "node", "source", "target")
    add("address", address, "print a node's address", "lab", "node")
    add("root", root, "print where a node's root is on this machine", "lab", "node")
    add("pid", pid, "print the pid, on this machine, of a node's init", "lab", "node")
    one = add("ls", ls, "list labs and their nodes")
    one.add_argument("lab", nargs="?")
    one.add_argument("-o", "--output", choices=("text", "json"), default="text")
    add("power-off", power_off, "kill nodes as if their power went", "lab").add_argument("node", nargs="+")
    one = add("boot", boot, "start nodes that are off", "lab")
    one.add_argument("node", nargs="+")
    one.add_argument("--no-wait", action="store_true", help="do not wait for etcd")
    add("link", link, "plug or pull a node's network cable", "lab", "node").add_argument("state", choices=("up", "down"))
    add("certificate", certificate, "let an external member's certificate be one that has ended, or the right one again",
        "lab", "node").add_argument("state", choices=("expired", "right"))
    add("clock", clock, "let a unit see a clock that is two days off, or the right one again, from its next start on",
        "lab", "node", "unit").add_argument("state", choices=("ahead", "behind", "right"))
    add("destroy", destroy, "remove a lab and everything of it", "lab")
    add("clean", clean, "remove labs whose owner is gone and what killed commands left").add_argument(
        "--all", action="store_true", help="labs that are owned, too")
    add("doctor", doctor, "list what is left behind; exit 1 if anything is").add_argument(
        "lab", nargs="?", help="anything of this lab counts, owned or not")
    return top


def main(words):
    # What follows the first -- is the command as it stands, with every -- of its own; argparse would drop some.
    words, command = (words[:words.index("--")], words[words.index("--") + 1:]) if "--" in words else (words, [])
    arguments = parser(words[0] if words else None).parse_args(words)
    try:
        if hasattr(arguments, "command"):
            arguments.command = arguments.command + command
            if not arguments.command:
                raise UsageError("no command was given", f"ops/lab {arguments.verb} LAB NODE -- CMD...")
        elif command:
            raise UsageError(f"{' '.join(command)} is too much", "see: ops/lab --help")
        if os.geteuid() != 0:
            raise UsageError("the lab needs root", "run it with sudo")
        arguments.function(arguments)
        return 0
    except LabError as error:
        print(f"ops/lab {arguments.verb}: {error}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        print(f"ops/lab {arguments.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"ops/lab {arguments.verb}: interrupted\n  run: ops/lab clean", file=sys.stderr)
        return 1

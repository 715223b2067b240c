"""Members that join a stacked cluster one after the other, as `kubeadm join --control-plane` makes them."""

import json

from . import access, machine, nodes, stacked
from .etcd_config import Member
from .run import run, wait_for

JOIN_SECONDS = 60
# Under a hidden name first: the kubelet plays whatever else it finds.
WRITE_MANIFEST = "umask 077 && cd /etc/kubernetes/manifests && cat >.etcd.yaml && mv .etcd.yaml etcd.yaml"


def join_all(made, cluster):
    """`made` are the cluster's nodes, booted; only the first has an etcd."""
    first = made[0]
    nodes.wait_for_etcd(first)
    for node, member in list(zip(made, cluster.members))[1:]:
        listed = wait_for(f"{member.name} to be accepted by the cluster", lambda: add(first, member), JOIN_SECONDS, 0.5,
                          f"see: ops/lab etcdctl {first.lab.name} {first.name} -- member list")
        known = {one.peer_url: one for one in cluster.members}
        text = stacked.etcd_manifest(node, member, cluster, [known[url] for url in listed])
        run([*machine.inside(node), "/bin/sh", "-c", WRITE_MANIFEST], stdin=text)
        nodes.wait_for_etcd(node)


def add(through, member: Member):
    """The peer URLs of all members in etcd's own order, which kubeadm keeps; None while etcd refuses.

    It does so until the members that it has are connected for five seconds. An addition whose answer was lost is
    found by its peer URL.
    """
    def asked(*words):
        done = run([*access.etcdctl(access.of_node(through)), "--command-timeout=5s", *words, "--write-out=json"],
                   seconds=20, check=False)
        return [one["peerURLs"][0] for one in json.loads(done.stdout)["members"]] if done.returncode == 0 else []

    listed = asked("member", "list")
    if member.peer_url in listed:
        return listed
    return asked("member", "add", member.name, f"--peer-urls={member.peer_url}")

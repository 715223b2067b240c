"""etcd as a static pod: what a control plane node and a host that runs nothing but etcd have in common, and the latter.

The latter is laid out as by kubeadm's guide for an external etcd: the kubelet as etcd's service manager by a drop-in
that overrides its unit, no kubelet configuration, and etcd listening for clients on the node's address only.
"""

import shutil

from . import cgroups, etcd_config, images, manifests
from .etcd_config import Tls
from .external import write
from .run import run

ETCD_PKI = "/etc/kubernetes/pki/etcd"
KUBELET_UNIT = """[Unit]
Description=kubelet: The Kubernetes Node Agent
After=cgroups-writable.service
Requires=cgroups-writable.service

[Service]
ExecStart=/usr/local/libexec/kubelet /etc/kubernetes/manifests
Restart=always
RestartSec=1
# As with the real kubelet, containers go on when it is stopped.
KillMode=process

[Install]
WantedBy=multi-user.target
"""
CGROUPS_UNIT = """[Unit]
Description=Let containers make cgroups in this node

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/libexec/cgroups-writable
"""
# On cgroup version 2 podman 4.3's cgroupfs manager puts a filter on a pod's group that denies every device, and runc
# cannot open /dev/null below it. Groups that systemd makes for podman have no such filter.
SYSTEMD_CGROUPS = """[engine]
cgroup_manager = "systemd"
"""
SERVICE_MANAGER = """[Service]
ExecStart=
ExecStart=/usr/local/libexec/kubelet --address=127.0.0.1 --pod-manifest-path=/etc/kubernetes/manifests --cgroup-driver=cgroupfs
Restart=always
"""


def set_up(node, member, cluster):
    """A host of an external etcd: PKI, one manifest and the kubelet's unit in the root of a node that is off."""
    root = node.root
    remove_packages(root)
    issue(node, member, cluster)
    if member != cluster.members[0]:
        # The guide copies the authority's key to no other host than the one that made it.
        (root / ETCD_PKI.lstrip("/") / "ca.key").unlink()
    install_kubelet(root)
    write(root / "etc/systemd/system/kubelet.service.d/20-etcd-service-manager.conf", SERVICE_MANAGER)
    chosen = options(member, cluster)
    del chosen["initial-cluster-token"]
    chosen["listen-client-urls"] = member.client_url
    write_manifest(root, "etcd", manifests.etcd(member, chosen, image(node)))
    (root / "var/lib/etcd").chmod(0o700)
    node.save(client={**node.data["client"], "endpoint": member.client_url})


def options(member, cluster):
    tls = Tls(f"{ETCD_PKI}/ca.crt", f"{ETCD_PKI}/server.crt", f"{ETCD_PKI}/server.key",
              f"{ETCD_PKI}/peer.crt", f"{ETCD_PKI}/peer.key")
    return etcd_config.options(member, cluster, "/var/lib/etcd", tls)


def image(node):
    return images.ETCD_IMAGES[node.data["etcd"] or "3.5"]


def remove_packages(root):
    """The packages' etcd, etcdctl and unit: a kubeadm node has none of them on the host."""
    for path in ("usr/bin/etcd", "usr/bin/etcdctl", "lib/systemd/system/etcd.service", "etc/default/etcd"):
        (root / path).unlink()
    data = root / "var/lib/etcd"
    for left in data.iterdir():
        left.rmdir()
    shutil.chown(data, "root", "root")


def install_kubelet(root):
    images.install_file(images.FILES / "kubelet", root / "usr/local/libexec/kubelet")
    write(root / "etc/systemd/system/kubelet.service", KUBELET_UNIT)
    write(root / "etc/systemd/system/cgroups-writable.service", CGROUPS_UNIT)
    if cgroups.only_version_2():
        write(root / "etc/containers/containers.conf.d/cgroups.conf", SYSTEMD_CGROUPS)
    run(["systemctl", f"--root={root}", "enable", "kubelet.service"])


def write_manifest(root, name, text):
    path = root / f"etc/kubernetes/manifests/{name}.yaml"
    write(path, text)
    path.chmod(0o600)


def issue(node, member, cluster):
    """The certificates of kubeadm's phases for etcd."""
    authority, inside = cluster.authority, node.root / ETCD_PKI.lstrip("/")
    inside.mkdir(parents=True)
    images.install_file(authority.certificate, inside / "ca.crt", 0o644)
    images.install_file(authority.key, inside / "ca.key", 0o600)
    names = ("localhost", member.host, "127.0.0.1", member.address)
    for name in ("server", "peer"):
        authority.issue(inside / f"{name}.crt", inside / f"{name}.key", f"/CN={member.host}", names)
    authority.issue(inside / "healthcheck-client.crt", inside / "healthcheck-client.key",
                    "/O=system:masters/CN=kube-etcd-healthcheck-client", uses=("clientAuth",))
    authority.issue(inside.parent / "apiserver-etcd-client.crt", inside.parent / "apiserver-etcd-client.key",
                    "/O=system:masters/CN=kube-apiserver-etcd-client", uses=("clientAuth",))
    node.save(client={"authority": f"{ETCD_PKI}/ca.crt", "certificate": f"{ETCD_PKI}/healthcheck-client.crt",
                      "key": f"{ETCD_PKI}/healthcheck-client.key"})

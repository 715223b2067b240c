"""A kubeadm control plane node: static pods in real containers, kept by the stand-in kubelet."""

import shutil

from . import etcd_config, images, manifests
from .etcd_config import Tls
from .external import write
from .pki import Authority
from .run import run

PKI = "/etc/kubernetes/pki"
ETCD_PKI = f"{PKI}/etcd"
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
KUBELET_CONFIG = """apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
staticPodPath: /etc/kubernetes/manifests
"""


def set_up(node, member, members):
    """PKI, manifests and the kubelet's unit in the root of a node that is off."""
    root = node.root
    # The packages' etcd, etcdctl and unit: a kubeadm node has none of them on the host.
    for path in ("usr/bin/etcd", "usr/bin/etcdctl", "lib/systemd/system/etcd.service", "etc/default/etcd"):
        (root / path).unlink()
    data = root / "var/lib/etcd"
    for left in data.iterdir():
        left.rmdir()
    shutil.chown(data, "root", "root")
    data.chmod(0o700)
    issue_etcd(Authority(node.lab.cluster_directory(node.data["cluster"]), "etcd-ca"), root, member)
    issue_cluster(Authority(node.lab.cluster_directory(node.data["cluster"]) / "kubernetes", "kubernetes"), root, member)
    images.install_file(images.FILES / "kubelet", root / "usr/local/libexec/kubelet")
    write(root / "etc/systemd/system/kubelet.service", KUBELET_UNIT)
    write(root / "etc/systemd/system/cgroups-writable.service", CGROUPS_UNIT)
    write(root / "var/lib/kubelet/config.yaml", KUBELET_CONFIG)
    tls = Tls(f"{ETCD_PKI}/ca.crt", f"{ETCD_PKI}/server.crt", f"{ETCD_PKI}/server.key",
              f"{ETCD_PKI}/peer.crt", f"{ETCD_PKI}/peer.key")
    options = etcd_config.options(member, members, "/var/lib/etcd", tls, "etcd-cluster")
    # kubeadm leaves these two at etcd's defaults on a first member.
    del options["initial-cluster-token"], options["initial-cluster-state"]
    for name, text in (("etcd", manifests.etcd(member, options)),
                       ("kube-apiserver", manifests.apiserver(member)),
                       ("kube-controller-manager", manifests.controller_manager()),
                       ("kube-scheduler", manifests.scheduler())):
        write(root / f"etc/kubernetes/manifests/{name}.yaml", text)
        (root / f"etc/kubernetes/manifests/{name}.yaml").chmod(0o600)
    run(["systemctl", f"--root={root}", "enable", "kubelet.service"])
    node.save(client={"authority": f"{ETCD_PKI}/ca.crt", "certificate": f"{ETCD_PKI}/healthcheck-client.crt",
                      "key": f"{ETCD_PKI}/healthcheck-client.key"})


def issue_etcd(authority, root, member):
    inside = root / ETCD_PKI.lstrip("/")
    inside.mkdir(parents=True)
    images.install_file(authority.certificate, inside / "ca.crt", 0o644)
    images.install_file(authority.key, inside / "ca.key", 0o600)
    names = ("localhost", member.name, "127.0.0.1", member.address)
    for name in ("server", "peer"):
        authority.issue(inside / f"{name}.crt", inside / f"{name}.key", f"/CN={member.name}", names)
    authority.issue(inside / "healthcheck-client.crt", inside / "healthcheck-client.key",
                    "/O=system:masters/CN=kube-etcd-healthcheck-client", uses=("clientAuth",))
    authority.issue(inside.parent / "apiserver-etcd-client.crt", inside.parent / "apiserver-etcd-client.key",
                    "/O=system:masters/CN=kube-apiserver-etcd-client", uses=("clientAuth",))


def issue_cluster(authority, root, member):
    inside = root / PKI.lstrip("/")
    images.install_file(authority.certificate, inside / "ca.crt", 0o644)
    images.install_file(authority.key, inside / "ca.key", 0o600)
    authority.issue(inside / "apiserver.crt", inside / "apiserver.key", "/CN=kube-apiserver",
                    (member.name, "kubernetes", "kubernetes.default", "10.96.0.1", member.address), ("serverAuth",))

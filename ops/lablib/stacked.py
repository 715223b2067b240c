"""A kubeadm control plane node: static pods in real containers, kept by the stand-in kubelet."""

from . import etcd_config, images, manifests, static_etcd
from .external import write
from .pki import Authority

PKI = "/etc/kubernetes/pki"
KUBELET_CONFIG = """apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
staticPodPath: /etc/kubernetes/manifests
"""




def set_up(node, member, cluster):
    """PKI, manifests and the kubelet's unit in the root of a node that is off.

    Only the first member has etcd's manifest from the beginning, as after `kubeadm init`; the others get theirs when
    they join (joining.py).
    """
    root = node.root
    static_etcd.remove_packages(root)
    static_etcd.issue(node, member, cluster)
    static_etcd.install_kubelet(root)
    issue_cluster(kubernetes_authority(node), root, member)
    write(root / "var/lib/kubelet/config.yaml", KUBELET_CONFIG)
    for name, text in (("kube-apiserver", manifests.apiserver(member)),
                       ("kube-controller-manager", manifests.controller_manager()),
                       ("kube-scheduler", manifests.scheduler())):
        static_etcd.write_manifest(root, name, text)
    (root / "var/lib/etcd").chmod(0o700)
    if member == cluster.members[0]:
        static_etcd.write_manifest(root, "etcd", etcd_manifest(node, member, cluster))


def etcd_manifest(node, member, cluster, joined=()):
    """kubeadm leaves etcd's defaults on a first member, and lists the members there are on one that joins."""
    options = static_etcd.options(member, cluster)
    del options["initial-cluster-token"], options["initial-cluster-state"]
    options["initial-cluster"] = etcd_config.initial_cluster(joined or [member])
    if joined:
        options["initial-cluster-state"] = "existing"
    return manifests.etcd(member, options, static_etcd.image(node))


def kubernetes_authority(node):
    return Authority(node.lab.cluster_directory(node.data["cluster"]) / "kubernetes", "kubernetes")


def issue_cluster(authority, root, member):
    inside = root / PKI.lstrip("/")
    images.install_file(authority.certificate, inside / "ca.crt", 0o644)
    images.install_file(authority.key, inside / "ca.key", 0o600)
    authority.issue(inside / "apiserver.crt", inside / "apiserver.key", "/CN=kube-apiserver",
                    (member.host, "kubernetes", "kubernetes.default", "10.96.0.1", member.address), ("serverAuth",))

"""The four static pod manifests of a control plane node, in the shape in which kubeadm writes them."""

from . import images
from .etcd_config import as_flags

POD = """apiVersion: v1
kind: Pod
metadata:
{annotations}  creationTimestamp: null
  labels:
    component: {name}
    tier: control-plane
  name: {name}
  namespace: kube-system
spec:
  containers:
  - command:
    - {name}
{flags}
    image: {image}
    imagePullPolicy: IfNotPresent
{probes}    name: {name}
    resources:
      requests:
        cpu: {cpu}
{memory}{extra_probes}    volumeMounts:
{mounts}
  hostNetwork: true
  priorityClassName: system-node-critical
  securityContext:
    seccompProfile:
      type: RuntimeDefault
  volumes:
{volumes}
status: {{}}
"""
PROBE = """    {kind}Probe:
      failureThreshold: {failures}
      httpGet:
        host: {host}
        path: {path}
        port: {port}
        scheme: {scheme}
{delay}      periodSeconds: {period}
      timeoutSeconds: 15
"""


def probe(kind, failures, host, path, port, scheme, period=10, delay=True):
    """kubeadm's readiness probes begin at once, the others after ten seconds."""
    return PROBE.format(kind=kind, failures=failures, host=host, path=path, port=port, scheme=scheme, period=period,
                        delay="      initialDelaySeconds: 10\n" if delay else "")


def pod(name, flags, image, probes, extra_probes, cpu, volumes, annotations="", memory=""):
    """`volumes` are (name, host path, type, read-only)."""
    mounts, claims = [], []
    for volume, path, kind, read_only in volumes:
        mounts += [f"    - mountPath: {path}", f"      name: {volume}"] + (["      readOnly: true"] if read_only else [])
        claims += ["  - hostPath:", f"      path: {path}", f"      type: {kind}", f"    name: {volume}"]
    return POD.format(name=name, flags="\n".join(f"    - {flag}" for flag in flags), image=image, probes=probes,
                      extra_probes=extra_probes, cpu=cpu, mounts="\n".join(mounts), volumes="\n".join(claims),
                      annotations=annotations, memory=memory)


def etcd(member, options, image):
    added = {"snapshot-count": "10000", "experimental-initial-corrupt-check": "true"}
    health = ("127.0.0.1", "/health", 2381, "HTTP")
    return pod(
        "etcd", as_flags(dict(sorted({**options, **added}.items()))), image, probe("liveness", 8, *health),
        probe("startup", 24, *health), "100m",
        [("etcd-data", "/var/lib/etcd", "DirectoryOrCreate", False),
         ("etcd-certs", "/etc/kubernetes/pki/etcd", "DirectoryOrCreate", False)],
        f"  annotations:\n    kubeadm.kubernetes.io/etcd.advertise-client-urls: {member.client_url}\n",
        "        memory: 100Mi\n")


def image_of(name):
    return f"localhost/{name}:{images.KUBERNETES_VERSION}"


def apiserver(member):
    pki = "/etc/kubernetes/pki"
    flags = [
        f"--advertise-address={member.address}", "--allow-privileged=true", "--authorization-mode=Node,RBAC",
        f"--client-ca-file={pki}/ca.crt", "--enable-admission-plugins=NodeRestriction",
        "--enable-bootstrap-token-auth=true", f"--etcd-cafile={pki}/etcd/ca.crt",
        f"--etcd-certfile={pki}/apiserver-etcd-client.crt", f"--etcd-keyfile={pki}/apiserver-etcd-client.key",
        "--etcd-servers=https://127.0.0.1:2379", "--secure-port=6443", "--service-cluster-ip-range=10.96.0.0/12",
        f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key"]
    here = (member.address,)
    return pod(
        "kube-apiserver", flags, image_of("kube-apiserver"), probe("liveness", 8, *here, "/livez", 6443, "HTTPS"),
        probe("readiness", 3, *here, "/readyz", 6443, "HTTPS", 1, False)
        + probe("startup", 24, *here, "/livez", 6443, "HTTPS"), "250m",
        [("ca-certs", "/etc/ssl/certs", "DirectoryOrCreate", True), ("k8s-certs", pki, "DirectoryOrCreate", True)],
        "  annotations:\n    kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: "
        f"{member.address}:6443\n")


def controller_manager():
    flags = ["--bind-address=127.0.0.1", "--cluster-name=kubernetes", "--leader-elect=true",
             "--use-service-account-credentials=true"]
    health = ("127.0.0.1", "/healthz", 10257, "HTTPS")
    return pod("kube-controller-manager", flags, image_of("kube-controller-manager"), probe("liveness", 8, *health),
               probe("startup", 24, *health), "200m",
               [("k8s-certs", "/etc/kubernetes/pki", "DirectoryOrCreate", True)])


def scheduler():
    flags = ["--bind-address=127.0.0.1", "--leader-elect=true"]
    health = ("127.0.0.1", "/healthz", 10259, "HTTPS")
    return pod("kube-scheduler", flags, image_of("kube-scheduler"), probe("liveness", 8, *health),
               probe("startup", 24, *health), "100m",
               [("ca-certs", "/etc/ssl/certs", "DirectoryOrCreate", True)])

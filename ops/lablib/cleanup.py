"""Taking labs down, finding what killed commands left, and proving that nothing is left."""

import os
from pathlib import Path

from . import cgroups, disks, images, machine, network, processes
from .state import LABS, NETNS_PREFIX, TAG, Lab, all_labs, locked

NSPAWN = Path("/run/systemd/nspawn/propagate")


def destroy(lab):
    """Remove everything of a lab, however much of it there is; safe to run again after a kill."""
    with locked("labs"):
        if lab.data:
            # A lab that is half gone is half-made: if this command is killed, clean goes on with it.
            lab.save(made=False, maker=processes.identify(os.getpid()))
        for node in lab.nodes():
            machine.take_down(node)
        groups = cgroups.groups(lab.name)
        cgroups.kill(groups)
        cgroups.remove(groups)
        cgroups.remove_empty()
        for netns in network.namespaces():
            if netns == lab.switch or netns.startswith(f"{lab.switch}."):
                network.remove_namespace(netns)
        machine.unmount_below(lab.directory)
        for place in propagated(lab.name):
            place.rmdir()
        lab.remove_directory()


def propagated(lab_name):
    """systemd-nspawn keeps a directory for each machine and does not always remove it."""
    return list(NSPAWN.glob(f"{TAG}.{lab_name}.*")) if NSPAWN.is_dir() else []


def clean(everything=False):
    """Destroy labs that nobody alive owns, and half-made nodes of the others; returns what was removed."""
    removed = []
    for lab in all_labs():
        if everything or not lab.is_owned:
            destroy(lab)
            removed.append(lab.name)
            continue
        for node in lab.nodes():
            if node.is_abandoned:
                machine.take_down(node)
                removed.append(f"{lab.name}/{node.name}")
    for name in sorted(strays()):
        destroy(Lab(name))
        removed.append(name)
    return removed + [part.name for part in images.abandoned(remove=True)]


def strays():
    """Names of labs without a directory that still have namespaces or groups."""
    names = {netns.removeprefix(NETNS_PREFIX).partition(".")[0] for netns in network.namespaces()}
    for group in cgroups.groups():
        names.update(one.name for one in cgroups.labs_in(group))
    # Directories last: a lab that another command begins meanwhile has its directory before all else.
    return names - {lab.name for lab in all_labs()}


def leftovers(only=None):
    """What exists of labs though no living owner has it; with `only`, whatever exists of that lab at all."""
    kept = set() if only else {lab.name for lab in all_labs() if lab.is_owned}

    def counts(name):
        return name == only if only else name not in kept

    found = []
    for lab in all_labs():
        if counts(lab.name):
            found.append(f"directory {lab.directory}")
        elif not only:
            found += [f"half-made node {lab.name}/{node.name}" for node in lab.nodes() if node.is_abandoned]
    for point in machine.mount_points(LABS):
        if counts(Path(point).relative_to(LABS).parts[0]):
            found.append(f"mount {point}")
    for netns in network.namespaces():
        if counts(netns.removeprefix(NETNS_PREFIX).partition(".")[0]):
            found.append(f"network namespace {netns}")
            found += [f"process {pid} in {netns}" for pid in network.processes_in(netns)]
    for group in cgroups.groups():
        for lab_group in cgroups.labs_in(group):
            if counts(lab_group.name):
                found.append(f"cgroup {lab_group}")
                found += [f"process {pid} in {lab_group}" for pid in sorted(cgroups.members(lab_group))]
        if not only and not cgroups.labs_in(group) and not kept:
            found.append(f"cgroup {group}")
    for device, file in disks.attached():
        if file.startswith(f"{LABS}/") and counts(Path(file.removesuffix(" (deleted)")).relative_to(LABS).parts[0]):
            found.append(f"loop device {device} on {file}")
    found += [f"directory {place}" for place in (NSPAWN.glob(f"{TAG}.*") if NSPAWN.is_dir() else [])
              if counts(place.name.split(".")[1])]
    if not only:
        found += [f"unfinished image {part}" for part in images.abandoned()]
        found += supervisors(kept)
    return found


def supervisors(kept):
    """systemd-nspawn processes on a node's root, wherever they run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        for word in words:
            path = word.removeprefix("--directory=")
            if path != word and path.startswith(f"{LABS}/") and Path(path).relative_to(LABS).parts[0] not in kept:
                if processes.start_time(int(entry.name)) is not None:
                    found.append(f"process {entry.name}: systemd-nspawn on {path}")
    return found

"""Running other programs, waiting for things and doing several at once, never without a limit."""

import subprocess
import threading
import time

from .errors import LabError
from .later import Later

futures = Later("concurrent.futures")


# Set when one of several things done at once failed: the others need not wait for what they wait for.
giving_up = threading.Event()


def run(argv, seconds=30, check=True, stdin=None, env=None, cwd=None):
    """Run `argv`, return the finished process with its output as text; raise if it fails or takes too long."""
    try:
        done = subprocess.run(
            argv, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            timeout=seconds, env=env, cwd=cwd)
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed", "run: ops/lab prepare") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(argv[:6])} took longer than {seconds} s") from None
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise LabError(f"{' '.join(argv[:6])} failed with status {done.returncode}: {' | '.join(said[-4:])}")
    return done


def contained(*argv):
    """`argv` with mounts and pids of its own, none of which outlives the command that runs it."""
    return ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
            *argv]


def wait_for(what, probe, seconds, interval=0.1, hint=None):
    """Call `probe` until it returns something true, and return that; raise after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds} s for {what}", hint)
        if giving_up.is_set():
            raise LabError(f"gave up waiting for {what}", hint)
        time.sleep(interval)


def in_parallel(work, items):
    """`work` on each item, at once; the results in the items' order, or what was raised first."""
    if len(items) == 1:
        return [work(items[0])]
    with futures.ThreadPoolExecutor(len(items)) as pool:
        doing = [pool.submit(work, item) for item in items]
        try:
            for one in futures.as_completed(doing):
                one.result()
        except BaseException:
            giving_up.set()
            raise
    return [one.result() for one in doing]

# SPDX-License-Identifier: Apache-2.0
"""The laboratory itself: it leaves nothing behind, however a run ends."""
import os
import signal
import subprocess
import sys

from lab import HOME_PREFIX, SPACES_DIR, check, processes, read, remove_stale_homes, test, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))


def begun(pid):
    """Which process this is, and not another one that has its number later; None: it is gone."""
    text = read(f"/proc/{pid}/stat")
    return (pid, text[text.rindex(")"):].split()[20]) if text else None


def descendants(pid):
    children = {}
    for child, parent, _ in processes():
        children.setdefault(parent, []).append(child)
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return {begun(one) for one in found[1:]} - {None}


def homes(pid):
    return [name for name in os.listdir(SPACES_DIR) if name.startswith(f"{HOME_PREFIX}{pid}-")]


@test()
def an_interrupted_demo_leaves_nothing_behind():
    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        with subprocess.Popen([sys.executable, os.path.join(HERE, "demo"), "--build",
                               os.environ["B"]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True) as demo:
            for line in demo.stdout:
                if line.startswith("1."):
                    break
            wait_for("its hosts run programs", lambda: len(descendants(demo.pid)) >= 12)
            left = descendants(demo.pid)
            demo.send_signal(signo)
            demo.stdout.read()
            status = demo.wait()
        check(status == (-signal.SIGKILL if signo == signal.SIGKILL else 130),
              f"{signo.name}: exit status {status}")
        wait_for(f"all that it started is gone after {signo.name}", lambda: not left & {
            begun(pid) for pid, _, _ in processes()})
        if signo == signal.SIGKILL:
            remove_stale_homes()  # as the next run does; perhaps one is at it already
            wait_for("its folder is removed", lambda: not homes(demo.pid))
        check(not homes(demo.pid), f"its folder stayed after {signo.name}")

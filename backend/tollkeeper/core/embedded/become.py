"""Become a server: change the account, ask to be ended with the parent, then `exec`.

Run as a script (`python -I -S become.py SPEC`), never imported by the gateway: code between fork and exec is unsafe in a
process with threads, and `PR_SET_PDEATHSIG` is lost when the account changes, so both must happen here, in this order.
SPEC is JSON and holds no secret. Without `argv` it only answers, as JSON, what the account may enter and run.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


def become(spec: dict[str, Any]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True)
    if spec["inside"]:
        _enter_user_namespace(libc, *spec["inside"])
    elif (spec["uid"], spec["gid"]) != (os.geteuid(), os.getegid()):
        os.setgroups([])
        os.setgid(spec["gid"])
        os.setuid(spec["uid"])
    if sys.platform == "linux":
        libc.prctl(PR_SET_PDEATHSIG, spec["death_signal"])
    if os.getppid() != spec["parent"]:
        sys.exit("The process that started this server has ended.")
    if spec["argv"]:
        os.chdir(spec["cwd"])
        os.execv(spec["argv"][0], spec["argv"])  # noqa: S606 -- that is its purpose
    enters = all(os.access(path, os.X_OK) for path in spec["enter"])
    runs = all(os.access(path, os.R_OK | os.X_OK) for path in spec["run"])
    reads = all(os.access(path, os.R_OK) for path in spec["read"])
    sys.stdout.write(json.dumps({"enters": enters, "runs": runs and reads}))


def _enter_user_namespace(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    """Stay who we are outside (so a private home stays open) and be an ordinary account inside."""
    outside = (os.geteuid(), os.getegid())
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "No user namespace can be made here")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outside[0]} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outside[1]} 1")


if __name__ == "__main__":
    try:
        become(json.loads(sys.argv[1]))
    except OSError as error:
        sys.exit(f"become: {error}")

"""A process of its own that starts the embedded servers, for tests that kill it, change its account or fence it in.

Prints one line of JSON when they answer, then waits for its standard input to end. Standard library only, so that any
interpreter an ordinary account may run will do.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000


def forbid_user_namespaces() -> None:
    """Enter one in which every account is itself and no further one can be made; the parent writes the maps."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    print("unshared", flush=True)
    sys.stdin.readline()
    Path("/proc/sys/user/max_user_namespaces").write_text("0")


def main() -> None:
    options = json.loads(sys.argv[1])
    if options.get("forbid_user_namespaces"):
        forbid_user_namespaces()
    if "uid" in options:
        os.setgroups([])
        os.setgid(options["uid"])
        os.setuid(options["uid"])
    from tollkeeper.core.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedValkey, start_together

    said: list[str] = []
    data_dir = Path(options["data_dir"])
    places = {"elsewhere": Path(options["elsewhere"])} if "elsewhere" in options else {}
    postgres = EmbeddedPostgres(data_dir, fsync=False, say=said.append, **places)
    valkey = EmbeddedValkey(data_dir, say=said.append, **places)
    try:
        endpoints = start_together([postgres, valkey])
    except EmbeddedError as error:
        print(json.dumps({"error": error.message}), flush=True)
        return
    if sql := options.get("sql"):
        postgres.run_sql(sql)
    pids = [endpoint.pid for endpoint in endpoints]
    urls = [endpoint.url for endpoint in endpoints]
    print(json.dumps({"pids": pids, "urls": urls, "said": said}), flush=True)
    sys.stdin.read()
    valkey.stop()
    postgres.stop()


if __name__ == "__main__":
    main()

"""Every process that has this folder on PYTHONPATH asks no network: what it would ask is refused and noted.

An audit hook sees each name that is looked up and each connection of Python's own sockets, whichever library
makes them. What compiled code connects by itself it cannot see.
"""

import os
import sys

ASKING = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
}  # event -> which of its arguments is the address
HERE = {"127.0.0.1", "localhost", "::1", None}


def refuse(event, arguments):
    if event not in ASKING:
        return
    address = arguments[ASKING[event]]
    host = address[0] if isinstance(address, tuple) else address
    if host in HERE or str(host).startswith(("/", "\0")) or (event == "socket.sendmsg" and host is None):
        return  # this machine, or a socket in the file system
    with open(os.environ["AFD_ASKED"], "a", encoding="utf-8") as file:
        file.write(f"{event} {host}\n")
    raise OSError(f"no network here: {event} {host}")


if "AFD_ASKED" in os.environ:
    sys.addaudithook(refuse)

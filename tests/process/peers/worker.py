"""A worker that uses all that baseplate offers to workers of Einhorn."""
import os
import signal
import socket
import subprocess
import sys

from baseplate.server import einhorn

assert einhorn.is_worker()
assert einhorn.get_socket_count() == 2
inet, unix = einhorn.get_socket(), einhorn.get_socket(1)
assert (inet.family, unix.family) == (socket.AF_INET, socket.AF_UNIX), (inet, unix)
try:
    einhorn.get_socket(2)
except IndexError:
    pass
else:
    sys.exit("a third socket")
# A child of a worker is none, though it has the worker's environment.
ask = "from baseplate.server import einhorn; print(einhorn.is_worker())"
assert subprocess.check_output([sys.executable, "-c", ask]) == b"False\n"

signal.signal(signal.SIGUSR2, lambda *_: sys.exit(0))
einhorn.ack_startup()
while True:
    client, _ = inet.accept()
    with client, client.makefile("rwb") as stream:
        while stream.readline().strip():
            pass
        stream.write(b"HTTP/1.1 200 OK\r\n\r\nhello from %d\n" % os.getpid())

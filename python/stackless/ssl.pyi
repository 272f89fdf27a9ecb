# All names of the standard module, with its signatures.
import ssl as _stock
from ssl import *  # noqa: F403

from stackless import socket as _sockets

class SSLSocket(_stock.SSLSocket, _sockets.socket):  # type: ignore[no-redef]
    ...

class SSLContext(_stock.SSLContext):  # type: ignore[no-redef]
    sslsocket_class: type[SSLSocket]

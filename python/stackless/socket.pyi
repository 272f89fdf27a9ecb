# All names of the standard module, with its signatures.
import socket as _stock
from socket import *  # noqa: F403
from socket import SocketIO as SocketIO
from typing import Any, Self

class socket(_stock.socket):  # type: ignore[no-redef]
    def accept(self) -> tuple[Self, Any]: ...

"""The calls of a socket that receive bytes, for tests of our sockets and of patched ones."""


def receiving(size):
    """Each call by name: a function of a socket that receives up to `size` bytes."""
    return {
        "recv": lambda s: s.recv(size),
        "recv_into": lambda s: s.recv_into(bytearray(size)),
        "recvfrom": lambda s: s.recvfrom(size),
        "recvfrom_into": lambda s: s.recvfrom_into(bytearray(size)),
        "recvmsg": lambda s: s.recvmsg(size),
        "recvmsg_into": lambda s: s.recvmsg_into([bytearray(size)]),
    }

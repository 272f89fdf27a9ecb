"""An object that offers its memory to pickle, as arrays of numpy do."""

import pickle


class Array:
    """Bytes that are pickled as a buffer."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        if protocol < 5:
            return Array, (bytearray(self.data),)
        return Array, (pickle.PickleBuffer(self.data),)

    def __eq__(self, other):
        return isinstance(other, Array) and bytes(self.data) == bytes(other.data)

    __hash__ = None

    @property
    def writable(self):
        return not memoryview(self.data).readonly

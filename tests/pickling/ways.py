"""All ways to pickle: every protocol, the pickler in C and the one in Python."""

import io
import pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def in_python(value, protocol):
    file = io.BytesIO()
    pickle._Pickler(file, protocol).dump(value)
    return pickle._loads(file.getvalue())


def in_c(value, protocol=pickle.HIGHEST_PROTOCOL):
    return pickle.loads(pickle.dumps(value, protocol))


ALL = [(way, protocol) for way in (in_c, in_python) for protocol in PROTOCOLS]

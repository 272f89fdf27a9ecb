"""pg8000: a connection for each thread."""

import contextlib
import sys

import at_once
from pg8000 import dbapi


def query(number):
    where = {"host": "127.0.0.1", "port": int(sys.argv[1]), "user": "postgres"}
    with contextlib.closing(dbapi.connect(**where, ssl_context=False)) as connection:
        cursor = connection.cursor()
        cursor.execute("select cast(%s as int), cast(pg_sleep(%s) as text)", (number, at_once.WAIT))
        return cursor.fetchone()[0] == number


at_once.run(query)

"""psycopg2, which the patches tell how to wait."""

import contextlib
import sys

import at_once
import psycopg2


def query(number):
    where = f"host=127.0.0.1 port={sys.argv[1]} user=postgres"
    with contextlib.closing(psycopg2.connect(where)) as connection:
        cursor = connection.cursor()
        cursor.execute("select %s::int, pg_sleep(%s)", (number, at_once.WAIT))
        return cursor.fetchone()[0] == number


at_once.run(query)

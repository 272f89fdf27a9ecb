"""psycopg 3, which the patches tell how to wait: it waits in C."""

import sys

import at_once
import psycopg


def query(number):
    where = f"host=127.0.0.1 port={sys.argv[1]} user=postgres"
    with psycopg.connect(where) as connection:
        row = connection.execute("select %s::int, pg_sleep(%s)", (number, at_once.WAIT)).fetchone()
        return row[0] == number


at_once.run(query)

"""psycopg 3, with its wait function in Python: the one in C would let no other tasklet run."""

import os
import sys

os.environ["PSYCOPG_WAIT_FUNC"] = "wait_selector"

import at_once  # noqa: E402
import psycopg  # noqa: E402


def query(number):
    where = f"host=127.0.0.1 port={sys.argv[1]} user=postgres"
    with psycopg.connect(where) as connection:
        row = connection.execute("select %s::int, pg_sleep(%s)", (number, at_once.WAIT)).fetchone()
        return row[0] == number


at_once.run(query)

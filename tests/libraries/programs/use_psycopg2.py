"""psycopg2, with its own wait function in Python (`psycopg2.extras.wait_select`)."""

import contextlib
import sys

import at_once
import psycopg2
from psycopg2.extensions import set_wait_callback
from psycopg2.extras import wait_select

set_wait_callback(wait_select)


def query(number):
    where = f"host=127.0.0.1 port={sys.argv[1]} user=postgres"
    with contextlib.closing(psycopg2.connect(where)) as connection:
        cursor = connection.cursor()
        cursor.execute("select %s::int, pg_sleep(%s)", (number, at_once.WAIT))
        return cursor.fetchone()[0] == number


at_once.run(query)

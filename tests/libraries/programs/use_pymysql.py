"""PyMySQL: a connection for each thread."""

import contextlib
import sys

import at_once
import pymysql


def query(number):
    where = {"host": "127.0.0.1", "port": int(sys.argv[1]), "user": "lab", "ssl_disabled": True}
    with contextlib.closing(pymysql.connect(**where)) as connection:
        cursor = connection.cursor()
        cursor.execute("select %s, sleep(%s)", (number, at_once.WAIT))
        return cursor.fetchone()[0] == number


at_once.run(query)

"""SQLAlchemy: a pool of connections, which more threads than connections use."""

import sys

import at_once
import sqlalchemy

url, function = sys.argv[1:]
SIZE = 100
engine = sqlalchemy.create_engine(url, pool_size=SIZE, max_overflow=0, pool_timeout=60)
for connection in [engine.connect() for _ in range(SIZE)]:
    connection.close()  # into the pool


def query(number):
    with engine.connect() as connection:
        wait = sqlalchemy.text(f"select :number, {function}")
        row = connection.execute(wait, {"number": number, "wait": at_once.WAIT}).one()
        return int(row[0]) == number


at_once.run(query, engine.dispose)

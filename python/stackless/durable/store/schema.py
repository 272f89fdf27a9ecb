"""The tables of a store, and how a database is brought to their latest version."""

from __future__ import annotations

from stackless.durable.records import DurableError
from stackless.durable.store.database import Session

#: Each brings a database to the next version. Types are PostgreSQL's.
MIGRATIONS = (
    """
    CREATE TABLE durable_workflows (
        id TEXT PRIMARY KEY, app TEXT NOT NULL, function TEXT NOT NULL, status TEXT NOT NULL,
        snapshot BYTEA NOT NULL, begun INTEGER NOT NULL, steps BIGINT NOT NULL,
        due DOUBLE PRECISION, topic TEXT, worker TEXT, token BIGINT NOT NULL, python TEXT NOT NULL,
        created DOUBLE PRECISION NOT NULL, updated DOUBLE PRECISION NOT NULL,
        result BYTEA, error TEXT
    );
    CREATE INDEX durable_workflows_due ON durable_workflows (app, python, due)
        WHERE worker IS NULL AND due IS NOT NULL;
    CREATE INDEX durable_workflows_worker ON durable_workflows (worker) WHERE worker IS NOT NULL;
    CREATE INDEX durable_workflows_status ON durable_workflows (app, status, created);
    CREATE INDEX durable_workflows_created ON durable_workflows (app, created);
    CREATE TABLE durable_steps (
        workflow TEXT NOT NULL, number BIGINT NOT NULL, name TEXT NOT NULL,
        began DOUBLE PRECISION NOT NULL, ended DOUBLE PRECISION NOT NULL, error TEXT,
        PRIMARY KEY (workflow, number)
    ) WITHOUT ROWID;
    CREATE TABLE durable_messages (
        number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, workflow TEXT NOT NULL,
        topic TEXT NOT NULL, sent DOUBLE PRECISION NOT NULL, value BYTEA NOT NULL
    );
    CREATE INDEX durable_messages_workflow ON durable_messages (workflow, topic, number);
    CREATE TABLE durable_workers (
        id TEXT PRIMARY KEY, machine TEXT NOT NULL, pid BIGINT NOT NULL, began BIGINT NOT NULL,
        until DOUBLE PRECISION NOT NULL
    );
    CREATE TABLE durable_code (digest BYTEA PRIMARY KEY, data BYTEA NOT NULL) WITHOUT ROWID;
    """,
)


def migrate(session: Session, *also: str) -> None:
    """Bring a database to the latest version. DurableError if a later release has written it.

    `also`: statements that are executed each time.
    """
    session.begin()
    try:
        session.exclude_others()
        for statement in also:
            session.run(statement)
        session.run("CREATE TABLE IF NOT EXISTS durable_version (version BIGINT NOT NULL)")
        found = session.rows("SELECT version FROM durable_version")
        version = found[0][0] if found else 0
        if version > len(MIGRATIONS):
            raise DurableError(
                f"the database has version {version}; this release knows {len(MIGRATIONS)}"
            )
        for migration in MIGRATIONS[version:]:
            for statement in migration.split(";"):
                if statement.strip():
                    session.run(statement)
        if version < len(MIGRATIONS):
            session.run("DELETE FROM durable_version")
            session.run("INSERT INTO durable_version VALUES (?)", len(MIGRATIONS))
    except BaseException:
        session.rollback()
        raise
    session.commit()

"""The tables of a store, and how a database is brought to their latest version."""

from __future__ import annotations

from stackless.durable.records import DurableError
from stackless.durable.store.database import Session

#: Each brings a database to the next version. Types are PostgreSQL's.
MIGRATIONS = (
    """
    CREATE TABLE durable_workflows (
        id TEXT PRIMARY KEY, app TEXT NOT NULL, function TEXT NOT NULL, status TEXT NOT NULL,
        arguments BYTEA NOT NULL, entry BIGINT NOT NULL,
        snapshot BYTEA, position BIGINT NOT NULL, codes BYTEA, steps BIGINT NOT NULL,
        due DOUBLE PRECISION, topic TEXT, awaits TEXT, parent TEXT,
        worker TEXT, token BIGINT NOT NULL, python TEXT NOT NULL,
        cancel INTEGER NOT NULL DEFAULT 0, pause INTEGER NOT NULL DEFAULT 0, migrate TEXT,
        point BYTEA, created DOUBLE PRECISION NOT NULL, updated DOUBLE PRECISION NOT NULL,
        result BYTEA, failed BIGINT, error TEXT
    );
    CREATE INDEX durable_workflows_due ON durable_workflows (app, python, due)
        WHERE worker IS NULL AND due IS NOT NULL;
    CREATE INDEX durable_workflows_worker ON durable_workflows (worker) WHERE worker IS NOT NULL;
    CREATE INDEX durable_workflows_wanted ON durable_workflows (worker)
        WHERE (cancel = 1 OR pause = 1 OR migrate IS NOT NULL);
    CREATE INDEX durable_workflows_awaits ON durable_workflows (awaits) WHERE awaits IS NOT NULL;
    CREATE INDEX durable_workflows_parent ON durable_workflows (parent) WHERE parent IS NOT NULL;
    CREATE INDEX durable_workflows_status ON durable_workflows (app, status, created);
    CREATE INDEX durable_workflows_created ON durable_workflows (app, created);
    CREATE TABLE durable_steps (
        workflow TEXT NOT NULL, number BIGINT NOT NULL, name TEXT NOT NULL,
        began DOUBLE PRECISION NOT NULL, ended DOUBLE PRECISION NOT NULL, error TEXT,
        kind TEXT NOT NULL, value BYTEA, snapshot BYTEA, position BIGINT, codes BYTEA,
        PRIMARY KEY (workflow, number)
    ) WITHOUT ROWID;
    CREATE TABLE durable_messages (
        number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, workflow TEXT NOT NULL,
        topic TEXT NOT NULL, sent DOUBLE PRECISION NOT NULL, value BYTEA NOT NULL
    );
    CREATE INDEX durable_messages_workflow ON durable_messages (workflow, topic, number);
    CREATE TABLE durable_workers (
        id TEXT PRIMARY KEY, machine TEXT NOT NULL, pid BIGINT NOT NULL, began BIGINT NOT NULL,
        until DOUBLE PRECISION NOT NULL, python TEXT NOT NULL
    );
    CREATE TABLE durable_code (
        digest BYTEA PRIMARY KEY, data BYTEA NOT NULL, written DOUBLE PRECISION NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE durable_schedules (
        app TEXT NOT NULL, name TEXT NOT NULL, cron TEXT NOT NULL, zone TEXT NOT NULL,
        function TEXT NOT NULL, arguments BYTEA NOT NULL, due DOUBLE PRECISION NOT NULL,
        created DOUBLE PRECISION NOT NULL, PRIMARY KEY (app, name)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE durable_shelves (
        name TEXT PRIMARY KEY, token BIGINT NOT NULL, holder TEXT NOT NULL,
        until DOUBLE PRECISION NOT NULL
    );
    CREATE TABLE durable_kept (
        shelf TEXT NOT NULL, key TEXT NOT NULL, value BYTEA NOT NULL, PRIMARY KEY (shelf, key)
    );
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

"""The app of the workflows in `durable_shop`, for the commands: its store is in their folder."""

import durable_shop  # noqa: F401
from stackless import durable

app = durable.App("shop", "sqlite:///shop.db", key=b"a key of the tests")

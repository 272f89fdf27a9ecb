"""A fixture that the tests of pickling share."""

import pytest
import ways


@pytest.fixture(params=ways.ALL, ids=lambda each: f"{each[0].__name__}-{each[1]}")
def travel(request):
    """Pickle and unpickle a value, in each of the ways."""
    way, protocol = request.param
    return lambda value: way(value, protocol)

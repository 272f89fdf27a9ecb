"""Imported modules that wait in C code are named by `monkey.status()`."""

import sys
from types import ModuleType

import pytest
from stackless import monkey


@pytest.mark.parametrize("name", ["grpc._cython.cygrpc", "pycurl", "MySQLdb._mysql", "cx_Oracle"])
def test_they_are_named_once_they_are_imported(monkeypatch, name):
    assert name not in [each.module for each in monkey.status()]
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    (found,) = [each for each in monkey.status() if each.module == name]
    assert found.name == "" and "to_thread" in found.reason

"""The parts of the module `stackless` itself that are written in Python."""

"""`python -m stackless compat`: a table of differences, reading source files, the report."""

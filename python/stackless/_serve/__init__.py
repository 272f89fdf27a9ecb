"""The WSGI server: `python -m stackless serve` and `stackless.integrations.wsgi`.

`settings` holds the options, `listeners` what is bound; `connection` reads requests and `exchange`
answers one, both without knowing processes; `worker` serves connections in one process, and
`master` starts workers and replaces them. The parser is that of httptools.
"""

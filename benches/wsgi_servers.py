"""The processor time that WSGI servers take for a request, compared in one run.

python benches/wsgi_servers.py [--seconds S] [--rounds N] [--connections N]

Needs httptools. The peers are installed by benches/requirements.txt, except bjoern: it is compiled,
and needs the headers of libev (`apt-get install libev-dev`, then `pip install bjoern`).
"""

import sys

import serving

sys.path.insert(0, str(serving.HERE))

import wsgi_servers as servers  # noqa: E402

#: Minimum factors of the processor time of others to ours, with connections that are kept.
REQUIRED = {"gunicorn, gevent": 3.0, "granian": 0.8}


def main() -> None:
    given = serving.arguments(__doc__)
    for app, about in (("hello", "12 bytes"), ("data", "10 kB of JSON")):
        for message, how in (
            ("http", "connections are kept"),
            ("http-once", "a connection for each request"),
        ):
            needs = {peer: needs for peer, (_, needs) in servers.PEERS.items()}
            commands = {
                peer: [*command, app]
                for peer, command in serving.python_servers("wsgi_servers.py", needs).items()
            }
            title = f"WSGI, {about}, {how}, {given.connections} at once"
            work = serving.Work(given.connections, message, given.seconds)
            required = REQUIRED if app == "hello" else {}
            serving.table(title, commands, work, given.rounds, required)


if __name__ == "__main__":
    main()

# Python 2, in the manner of 2006: two tasklets that play ping-pong, and a watchdog.
import stackless
import sys, asyncore  # -> error asyncore
import cPickle as pickle  # -> info cPickle
import Queue  # -> error Queue
from stackless import channel, _wrap  # -> error stackless._wrap

__doc__ = """A print "in a string" and an `expression` are not code."""

if not "Stackless" in sys.version:  # -> error sys.version
    print "This needs Stackless Python"  # -> error Python 2
    sys.exit(1)

ping, pong = stackless.channel(), channel()

def player(name, (mine, other)):
    while 1:
        try:
            ball = mine.receive()
            print >>sys.stderr, name, `ball`
            other.send(ball <> None and ball + 1L)
        except ValueError, e:
            raise RuntimeError, "lost: %s" % e

def watch(victims):
    exec "limit = 0777"
    while stackless.getruncount() > 1:
        victim = stackless.run(1000)  # -> warning run(timeout)
        if victim:
            print victim.cstate  # -> error tasklet.cstate
            victim.bind(None)
    stackless.run()
    stackless.run_watchdog(1000)  # -> error stackless.run_watchdog
    stackless.cframe.__name__  # -> error stackless.cframe
    stackless._peek(ping)  # -> error stackless._peek

stackless.tasklet(player)("ping", (ping, pong))
stackless.tasklet(player)("pong", (pong, ping))
watch([])

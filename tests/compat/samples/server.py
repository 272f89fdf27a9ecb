# -*- coding: latin-1 -*-
# Python 3 by its syntax, but converted by hand and not to the end. Café.
from stackless import *
try:
    import cPickle  # -> info cPickle
except ImportError:
    import pickle as cPickle
import asynchat  # -> error asynchat
import greenlet  # -> info greenlet
import ctypes
import urlparse  # -> error urlparse
import game_config

answers = channel()
stackless.tidy = lambda: None
stackless.tidy()
stackless.unheard_of()  # -> error stackless.unheard_of

def serve(requests={}):
    for key, value in requests.iteritems():  # -> error Python 2
        for i in xrange(10):
            answers.send((key, value))
    pickle_flags(1)
    café = answers; café.next()  # -> error channel.next
    t = tasklet(serve)
    t.bind()
    t.bind(serve, None)
    run(timeout=100)  # -> warning run(timeout)
    run(0)
    run(None)
    print(ctypes.pythonapi.PyTasklet_New)  # -> error PyTasklet_New

def no_false_alarm(unicode, t):
    unicode.bind(1), t.close(), t.next, t.pickle_flags, t.run(5)

"""Flask's development server, with a thread for each request."""

import sys
import time

from flask import Flask, request

app = Flask(__name__)


@app.route("/<number>")
def wait(number):
    before = request.path
    time.sleep(float(request.query_string))
    assert before == request.path
    return request.path


app.run(port=int(sys.argv[1]), threaded=True)

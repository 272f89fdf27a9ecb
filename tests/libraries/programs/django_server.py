"""Django's development server, with a thread for each request."""

import sys
import time

import django
from django.conf import settings
from django.core.management import call_command
from django.core.servers.basehttp import WSGIServer
from django.http import HttpResponse
from django.urls import path
from django.utils.translation import get_language, override


def wait(request, number):
    with override("de" if number % 2 else "fr"):  # kept for each thread
        before = get_language()
        time.sleep(float(request.META["QUERY_STRING"]))
        assert before == get_language()
    return HttpResponse(request.path)


urlpatterns = [path("<int:number>", wait)]
settings.configure(
    DEBUG=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="-", MIDDLEWARE=[]
)
django.setup()
WSGIServer.request_queue_size = 1024  # else the system drops connections, and clients wait
call_command("runserver", f"127.0.0.1:{sys.argv[1]}", use_reloader=False, skip_checks=True)

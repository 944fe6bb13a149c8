"""An application for baseplate-serve, and the server that it is to run it in."""
import os

from gevent.pywsgi import WSGIServer


def make_app(config):
    def app(environment, start_response):
        start_response("200 OK", [])
        return [b"hello from %d\n" % os.getpid()]

    return app


def make_server(config, listener, app):
    return WSGIServer(listener, application=app, log=None)

"""A connection that sends back what it receives, and a client that uses it."""

import socket as stock

from stackless import socket


def echo(connection):
    with connection:
        while data := connection.recv(4096):
            connection.sendall(data)


def exchange(address, data):
    with socket.create_connection(address) as s:
        s.sendall(data)
        s.shutdown(stock.SHUT_WR)
        received = b""
        while more := s.recv(4096):
            received += more
    return received

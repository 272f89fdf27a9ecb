"""pika: a connection for each thread, and a message that the server holds back for a time."""

import sys

import at_once
import pika

parameters = pika.ConnectionParameters("127.0.0.1", int(sys.argv[1]))


def deliver(number):
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        arrives = channel.queue_declare("", exclusive=True).method.queue
        later = {
            "x-message-ttl": int(at_once.WAIT * 1000),
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": arrives,
        }
        waits = channel.queue_declare("", exclusive=True, arguments=later).method.queue
        channel.basic_publish("", waits, str(number).encode())
        for _, _, body in channel.consume(arrives, auto_ack=True, inactivity_timeout=30):
            return body == str(number).encode()


at_once.run(deliver)

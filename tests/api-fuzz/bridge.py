"""A TCP port in front of the daemon's abstract Unix socket, for tools that know TCP only."""

import socket
import threading


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    try:
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client):
    try:
        daemon = socket.socket(socket.AF_UNIX)
        daemon.connect("\0xlat")
    except OSError:
        client.close()
        return
    for ends in ((client, daemon), (daemon, client)):
        threading.Thread(target=pump, args=ends, daemon=True).start()


listener = socket.create_server(("127.0.0.1", 8099))
while True:
    serve(listener.accept()[0])

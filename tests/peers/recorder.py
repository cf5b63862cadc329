"""A proxy that keeps each request that passes: which operation of which service, and what it asks for."""

import contextlib
import gzip
import http.client
import http.server
import json
import sys
import threading
import urllib.parse

import cbor2

# The APIs whose requests are forms, by their version.
IN_FORMS = {"2011-01-01": "autoscaling", "2015-12-01": "elasticloadbalancing"}


def parse(path, headers, body):
    """(service as IAM names it, operation, parameters)"""
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    if "x-amz-target" in headers:
        return "ecs", headers["x-amz-target"].split(".")[-1], json.loads(body)
    if path.startswith("/service/"):
        return "cloudwatch", path.split("/")[-1], cbor2.loads(body)
    form = dict(urllib.parse.parse_qsl(body.decode()))
    return IN_FORMS[form["Version"]], form.pop("Action"), form


@contextlib.contextmanager
def recorder(upstream):
    """Gives the proxy's address and the list that requests come to stand in."""
    address, requests = urllib.parse.urlsplit(upstream), []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer in two packets would wait for the first one's acknowledgement.
        wbufsize = -1

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            requests.append(parse(self.path, self.headers, body))
            connection = http.client.HTTPConnection(address.hostname, address.port)
            connection.request("POST", self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request, client_address):
            # A client that was killed is no fault of the proxy's.
            if not isinstance(sys.exc_info()[1], ConnectionError):
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()

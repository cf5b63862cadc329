"""How the job reaches AWS: TLS with the authorities that the environment names, and the environment's proxy.

    transport.py JOB SIMULATOR
"""

import contextlib
import datetime
import ipaddress
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from socket_and_signals import RUN_SECONDS, check, simulator

DRY = {"REBALANCER_CLUSTER": "reference", "REBALANCER_DRY_RUN": "true", "REBALANCER_LOG_FORMAT": "json"}


def certificate(folder, name):
    """A self-signed one of 127.0.0.1: the file of the certificate, and of it with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    bundle, both = pathlib.Path(folder, f"{name}.pem"), pathlib.Path(folder, f"{name}-with-key.pem")
    bundle.write_bytes(pem), both.write_bytes(pem + private)
    return bundle, both


def run(job, environment):
    ended = subprocess.run([job], env={**environment, **DRY}, capture_output=True, text=True, timeout=RUN_SECONDS)
    return ended.returncode, json.loads(ended.stdout.splitlines()[-1])


def pump(source, sink):
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def serve_tls(listener, context, port):
    """Takes TLS off what comes in, and hands it on to a port."""
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        try:
            client = context.wrap_socket(plain, server_side=True)
        except OSError:
            continue
        behind = socket.create_connection(("127.0.0.1", port))
        for ends in ((client, behind), (behind, client)):
            threading.Thread(target=pump, args=ends, daemon=True).start()


def check_tls(job, simulator_command, folder):
    bundle, both = certificate(folder, "trusted")
    other, _ = certificate(folder, "another")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(both)
    with simulator(simulator_command, 1) as environment, socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(environment["AWS_ENDPOINT_URL"].rpartition(":")[2])
        threading.Thread(target=serve_tls, args=(listener, context, port), daemon=True).start()
        endpoint = f"https://127.0.0.1:{listener.getsockname()[1]}"
        status, _ = run(job, {**environment, "AWS_ENDPOINT_URL": endpoint, "SSL_CERT_FILE": str(bundle)})
        check("exit status over TLS", status, 0)
        status, report = run(job, {**environment, "AWS_ENDPOINT_URL": endpoint, "SSL_CERT_FILE": str(other)})
        check("exit status where the authority is another", status, 1)
        check("which is said", "UnknownIssuer" in report["errors"], True)


NOBODY = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}


def check_proxy(job, scheme, variable, expected, user=""):
    """What the first line is that a proxy is sent, and whether it is told who asks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(RUN_SECONDS)
        proxy = f"http://{user}127.0.0.1:{listener.getsockname()[1]}"
        environment = {**NOBODY, "AWS_ENDPOINT_URL": f"{scheme}://aws.invalid", variable: proxy}
        process = subprocess.Popen(
            [job], env={**environment, **DRY}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as sent:
                lines = [line.decode().strip() for line in iter(sent.readline, b"\r\n")]
            check(f"what a proxy named by {variable} is asked", lines[0], expected)
            told = [line.split(": ")[1] for line in lines if line.lower().startswith("proxy-authorization: ")]
            # user:word, by base64.
            check("who asks", told, ["Basic dXNlcjp3b3Jk"] if user else [])
        finally:
            process.kill()
            process.wait()


def check_other_proxies(job, simulator_command):
    """A proxy that isn't meant for the host is not asked; one that can't be reached so is told of."""
    with simulator(simulator_command, 1) as environment:
        status, _ = run(job, {**environment, "HTTP_PROXY": "http://proxy.invalid", "NO_PROXY": "127.0.0.1"})
        check("exit status where NO_PROXY names the host", status, 0)
        status, told = run(job, {**environment, "HTTP_PROXY": "https://user:word@proxy.invalid"})
        check("exit status where the proxy's address is not http://", status, 2)
        told = json.dumps(told)
        check("which is said, without the password", ("give an http:// address" in told, "word@" in told), (True, False))


def main():
    job, simulator_command = map(os.path.abspath, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        check_tls(job, simulator_command, folder)
    check_proxy(job, "http", "HTTP_PROXY", "POST http://aws.invalid/ HTTP/1.1")
    check_proxy(job, "https", "HTTPS_PROXY", "CONNECT aws.invalid:443 HTTP/1.1")
    check_proxy(job, "http", "HTTP_PROXY", "POST http://aws.invalid/ HTTP/1.1", user="user:word@")
    check_proxy(job, "https", "HTTPS_PROXY", "CONNECT aws.invalid:443 HTTP/1.1", user="user:word@")
    check_other_proxies(job, simulator_command)


if __name__ == "__main__":
    main()

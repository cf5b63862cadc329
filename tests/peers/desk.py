"""The credentials that people have at a desk, by the default build: IAM Identity Center, `credential_process`, assumed roles.

    desk.py JOB SIMULATOR

A server stands for the portal of IAM Identity Center, for its token service and for STS. It passes all other calls on to the
simulator, and keeps the access key by which each was signed.
"""

import contextlib
import datetime
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import urllib.parse

from socket_and_signals import RUN_SECONDS, simulator

START_URL = "https://example.awsapps.com/start"
ROLE = "arn:aws:iam::111122223333:role/rebalancer"
NOW = datetime.datetime.now(datetime.timezone.utc)
IN_AN_HOUR, AN_HOUR_AGO = ((NOW + datetime.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ") for hours in (1, -1))

KEYS = "[profile keys]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = secret\n"
SESSION = f"[sso-session company]\nsso_start_url = {START_URL}\nsso_region = us-east-1\nsso_registration_scopes = sso:account:access\n"
SSO = f"[profile sso]\nsso_session = company\nsso_account_id = 111122223333\nsso_role_name = operator\n{SESSION}"
LEGACY = f"[profile sso]\nsso_start_url = {START_URL}\nsso_region = us-east-1\nsso_account_id = 111122223333\nsso_role_name = operator\n"
PROCESS = "[profile process]\ncredential_process = {program}\n"
TOKEN = {"accessToken": "token", "expiresAt": IN_AN_HOUR}
OLD = {"accessToken": "old", "expiresAt": AN_HOUR_AGO}
RENEWED = {**OLD, "refreshToken": "again", "clientId": "id", "clientSecret": "secret", "registrationExpiresAt": IN_AN_HOUR}
# By case: the configuration; the profile; the token that `aws sso login` left; more environment; what is asked for credentials;
# the access key of all calls to AWS after that, or what the error says.
CASES = {
    "keys of a profile": (KEYS, "keys", None, {}, [], "AKIAPROFILE"),
    "IAM Identity Center": (SSO, "sso", TOKEN, {}, ["portal token operator"], "ASIASSO"),
    "IAM Identity Center, as it was configured before sessions": (LEGACY, "sso", TOKEN, {}, ["portal token operator"], "ASIASSO"),
    "IAM Identity Center, with a token that is renewed": (SSO, "sso", RENEWED, {}, ["tokens again", "portal renewed operator"], "ASIASSO"),
    "credential_process": (PROCESS, "process", None, {}, [], "AKIAPROCESS"),
    "an assumed role": (f"{KEYS}[profile role]\nrole_arn = {ROLE}\nsource_profile = keys\n", "role", None, {}, [f"AssumeRole {ROLE} by AKIAPROFILE"], "ASIAROLE"),
    "a role assumed from IAM Identity Center": (
        f"{SSO}[profile role]\nrole_arn = {ROLE}\nsource_profile = sso\n", "role", TOKEN, {},
        ["portal token operator", f"AssumeRole {ROLE} by ASIASSO"], "ASIAROLE",
    ),
    "a role assumed by a token of one's own": (
        f"[profile role]\nrole_arn = {ROLE}\nweb_identity_token_file = {{token}}\n", "role", None, {},
        [f"AssumeRoleWithWebIdentity {ROLE} by nobody"], "ASIAROLE",
    ),
    "IAM Identity Center, and the token has run out": (SSO, "sso", OLD, {}, [], "log in by `aws sso login` (the SSO token has expired"),
    "IAM Identity Center, and nobody has logged in": (SSO, "sso", None, {}, [], "log in by `aws sso login` ("),
    "credential_process, and it fails": (
        "[profile process]\ncredential_process = false\n", "process", None, {}, [],
        "the credentials could not be loaded: Error retrieving credentials: external process exited",
    ),
    "a role that may not be assumed": (
        f"{KEYS}[profile role]\nrole_arn = {ROLE}-of-others\nsource_profile = keys\n", "role", None, {},
        [f"AssumeRole {ROLE}-of-others by AKIAPROFILE"], "the credentials could not be loaded: User: nobody is not authorized to perform: sts:AssumeRole",
    ),
    "a profile that is not there": (KEYS, "other", None, {}, [], "profile `other` was not defined"),
}  # fmt: skip


REFUSED = (
    '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code>'
    f"<Message>User: nobody is not authorized to perform: sts:AssumeRole on resource: {ROLE}-of-others</Message></Error></ErrorResponse>"
)
# A mistake is told at once: the SDK's own patience is no reason to wait.
SOON_SECONDS = 10


def signer(headers):
    found = re.search(r"Credential=(\w+)/", headers.get("Authorization", ""))
    return found[1] if found else "nobody"


@contextlib.contextmanager
def aws(upstream):
    """The server's address, what was asked for credentials, and the access keys of all other calls."""
    address, asked, keys = urllib.parse.urlsplit(upstream), [], set()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self):
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
            token = self.headers["x-amz-sso_bearer_token"]
            asked.append(f"portal {token} {query['role_name']}")
            if token not in ("token", "renewed"):
                return self.answer(401, json.dumps({"message": "Session token not found or invalid"}))
            credentials = {"accessKeyId": "ASIASSO", "secretAccessKey": "secret", "sessionToken": "session", "expiration": int((NOW.timestamp() + 3600) * 1000)}
            self.answer(200, json.dumps({"roleCredentials": credentials}))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/token":
                request = json.loads(body)
                asked.append(f"tokens {request['refreshToken']}")
                return self.answer(200, json.dumps({"accessToken": "renewed", "tokenType": "Bearer", "expiresIn": 3600, "refreshToken": "again"}))
            if b"Action=AssumeRole" in body:
                form = dict(urllib.parse.parse_qsl(body.decode()))
                asked.append(f"{form['Action']} {form['RoleArn']} by {signer(self.headers)}")
                if form["RoleArn"] != ROLE:
                    return self.answer(403, REFUSED, "text/xml")
                return self.answer(200, assumed(form["Action"]), "text/xml")
            keys.add(signer(self.headers))
            connection = http.client.HTTPConnection(address.hostname, address.port)
            connection.request("POST", self.path, body, {**self.headers, "Host": address.netloc})
            answer = connection.getresponse()
            self.answer(answer.status, answer.read(), answer.getheader("content-type"), {"smithy-protocol": answer.getheader("smithy-protocol")})
            connection.close()

        def answer(self, status, body, kind="application/json", more=None):
            body = body if isinstance(body, bytes) else body.encode()
            self.send_response(status)
            for name, value in {"content-type": kind, "content-length": str(len(body)), **(more or {})}.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked, keys
    finally:
        server.shutdown()
        server.server_close()


def assumed(action):
    return (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>'
        f"<SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken><Expiration>{IN_AN_HOUR}</Expiration></Credentials>"
        f"<AssumedRoleUser><Arn>{ROLE}/run</Arn><AssumedRoleId>AROA:run</AssumedRoleId></AssumedRoleUser></{action}Result></{action}Response>"
    )


def home(folder, configuration, token):
    """What a person has in their home folder: the configuration, the program it names, and what `aws sso login` left."""
    program = folder / "credentials"
    keys = {"Version": 1, "AccessKeyId": "AKIAPROCESS", "SecretAccessKey": "secret"}
    program.write_text(f"#!/bin/sh\necho '{json.dumps(keys)}'\n")
    program.chmod(0o755)
    (folder / "token").write_text("a token of one's own")
    (folder / ".aws/sso/cache").mkdir(parents=True)
    (folder / ".aws/config").write_text(configuration.replace("{program}", str(program)).replace("{token}", str(folder / "token")))
    if token:
        for name in ("company", START_URL):
            path = folder / ".aws/sso/cache" / f"{hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()}.json"
            path.write_text(json.dumps({**token, "region": "us-east-1", "startUrl": START_URL}))


def main(job, simulator_command):
    with simulator(simulator_command, 60) as environment:
        for what, (configuration, profile, token, more, expected, outcome) in CASES.items():
            with tempfile.TemporaryDirectory() as name, aws(environment["AWS_ENDPOINT_URL"]) as (address, asked, keys):
                home(pathlib.Path(name), configuration, token)
                services = {f"AWS_ENDPOINT_URL{of}": address for of in ("", "_SSO", "_SSO_OIDC", "_STS")}
                settings = {"REBALANCER_CLUSTER": "reference", "REBALANCER_DRY_RUN": "true", "REBALANCER_LOG_FORMAT": "text"}
                done = subprocess.run(
                    [job], capture_output=True, text=True, timeout=RUN_SECONDS if outcome.startswith("A") else SOON_SECONDS, check=False,
                    env={"HOME": name, "PATH": os.environ["PATH"], "AWS_REGION": "us-east-1", "AWS_PROFILE": profile,
                         "AWS_EC2_METADATA_DISABLED": "true", **services, **settings, **more},
                )  # fmt: skip
                told = done.stdout + done.stderr
                is_well = outcome.startswith("A")
                if (done.returncode, asked, keys) != ((0, expected, {outcome}) if is_well else (1, expected, set())) or not is_well and outcome not in told:
                    sys.exit(f"FAILED: {what}: status {done.returncode}, asked {asked}, keys {keys}:\n{told}")
                line = "" if is_well else ": " + " ".join(line.strip() for line in told.splitlines() if "rror" in line or "credentials" in line)
                print(f"ok: {what}: {', '.join([*asked, *keys]) or 'no call'}{line}", flush=True)


if __name__ == "__main__":
    main(*map(os.path.abspath, sys.argv[1:]))

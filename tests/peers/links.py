"""The links of README, the book and the other pages to other sites: each is asked for, where the internet is reached.

    links.py             ends with 77 where it is not
    links.py --itself    holds this check to a server on this machine

A link is dead if its answer is an error, or if none comes, twice. One that refuses robots is told and counts as alive.
"""

import concurrent.futures
import contextlib
import http.server
import io
import pathlib
import re
import socket
import sys
import threading
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).parents[2]
SKIPPED = 77
SECONDS = 10
AT_A_TIME = 4
# Whoever reaches none of these has no way to other sites.
OTHERS = ["https://docs.aws.amazon.com/", "https://example.com/"]
# Sites that answer people alone: Unauthorized, Forbidden, Too Many Requests, and LinkedIn's own.
ROBOTS = {401, 403, 429, 999}
AGENT = {"User-Agent": "Mozilla/5.0 (compatible; ecs-rebalancer's check of links)"}
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((https?://[^\s)]+)\)|<(https?://[^\s>]+)>|^\[[^]]+\]: (https?://\S+)", re.MULTILINE)


def links(text):
    """The links of a page to other sites, less those in code."""
    return [next(filter(None, found)) for found in LINK.findall(CODE.sub("", text))]


def asked(link, seconds):
    """The status of the answer and where it comes from, or why there is none."""
    try:
        with urllib.request.urlopen(urllib.request.Request(link, headers=AGENT), timeout=seconds) as answer:
            return answer.status, answer.url
    except urllib.error.HTTPError as error:
        return error.code, link
    except (OSError, ValueError) as error:
        return None, str(getattr(error, "reason", error))


def judged(link, seconds=SECONDS):
    """Whether a link is alive, and what is to be told of it."""
    for _ in range(2):
        status, told = asked(link, seconds)
        if status in ROBOTS:
            return True, f"answers {status}, perhaps to robots alone"
        if status is not None and status < 400:
            return True, "" if told.split("#")[0] == link.split("#")[0] else f"leads to {told}"
        if status in (404, 410):
            break
    return False, f"answers {status}" if status else told


def check(pages, seconds=SECONDS):
    """How many links there are, and how many of them are dead."""
    found = sorted({(link, name) for name, text in pages for link in links(text)})
    alone = sorted({link for link, _ in found})
    dead = 0
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        for link, (is_alive, told) in zip(alone, pool.map(lambda link: judged(link, seconds), alone)):
            dead += not is_alive
            where = ", ".join(name for other, name in found if other == link)
            if told or not is_alive:
                print(f"{'told' if is_alive else 'DEAD'}: {link} ({where}): {told}")
    return len(alone), dead


class Site(http.server.BaseHTTPRequestHandler):
    """What a path of this site answers: a status, or silence; `once` fails the first time."""

    asked_before = set()

    def do_GET(self):
        name = self.path.lstrip("/")
        if name == "silent":
            self.server.over.wait()
            return
        status = 503 if name == "once" and name not in self.asked_before else int(name) if name.isdigit() else 200
        self.asked_before.add(name)
        self.send_response(status)
        if status == 301:
            self.send_header("Location", "/alive")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def itself():
    """Each kind of answer, by what the check makes of it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.over = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site = f"http://127.0.0.1:{server.server_port}"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    for link, expected in [
        (f"{site}/alive", (True, "")),
        (f"{site}/alive#below", (True, "")),
        (f"{site}/301", (True, f"leads to {site}/alive")),
        (f"{site}/403", (True, "answers 403, perhaps to robots alone")),
        (f"{site}/429", (True, "answers 429, perhaps to robots alone")),
        (f"{site}/once", (True, "")),
        (f"{site}/404", (False, "answers 404")),
        (f"{site}/500", (False, "answers 500")),
        (f"{site}/silent", (False, "timed out")),
        (closed, (False, "[Errno 111] Connection refused")),
        ("http://nobody.invalid/", None),
    ]:
        found = judged(link, 0.5)
        if found[0] if expected is None else found != expected:
            sys.exit(f"FAILED: {link}: {found}, expected {expected}")
        print(f"ok: {link}: {found}")
    page = f"[a]({site}/404), <{site}/alive>, `[b]({site}/500)`\n\n```\n[c]({site}/500)\n```\n\n[d]: {site}/alive\n"
    with contextlib.redirect_stdout(io.StringIO()) as told:
        counted = check([("page", page)], 0.5)
    if links(page) != [f"{site}/404", f"{site}/alive", f"{site}/alive"] or counted != (2, 1) or "(page): answers 404" not in told.getvalue():
        sys.exit(f"FAILED: a page's links are {links(page)}")
    server.over.set()
    server.shutdown()


def main():
    if sys.argv[1:] == ["--itself"]:
        return itself()
    if all(asked(other, SECONDS)[0] is None for other in OTHERS):
        sys.exit(SKIPPED)
    pages = [path for path in ROOT.rglob("*.md") if not {"target", "node_modules"} & set(path.parts)]
    number, dead = check([(str(path.relative_to(ROOT)), path.read_text()) for path in sorted(pages)])
    print(f"{number} links to other sites, {dead} of them dead")
    sys.exit(dead > 0 or number == 0)


if __name__ == "__main__":
    main()

"""The bill of materials names each crate that is linked into the binary, in its version.

    cargo tree --prefix none --format '{p}' ... | sbom.py BILL.cdx.json
"""

import json
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        listed = {(component["name"], component["version"]) for component in json.load(file)["components"]}
    linked = {(name, version.removeprefix("v")) for name, version, *_ in (line.split() for line in sys.stdin)}
    if not linked or linked - listed:
        sys.exit(f"FAILED: {len(linked)} crates are linked, and the bill of materials lacks {sorted(linked - listed)}")
    print(f"ok: {sys.argv[1]} names all {len(linked)} crates that are linked")


if __name__ == "__main__":
    main()

"""Everything that a person reads, in plain English: README, the book, Terraform's descriptions and every message in the code.

    prose.py TEXTLINT CONFIGURATION FOLDER

Messages are written to FOLDER as Markdown, so that the linter reads them as prose. Prints each page's readability grade: the years
of school that its sentences ask for (automated readability index).
"""

import pathlib
import re
import subprocess
import sys

import textstat

ROOT = pathlib.Path(__file__).parents[2]
# A page above this grade is not plain. The threshold is for prose alone: code, tables and outputs don't count.
HARDEST = 12
# A text in the code with fewer words is a name, a label or a format.
WORDS = 4
LITERAL = re.compile(r'(?<!r)(?<!r#)"((?:[^"\\]|\\.)*)"', re.DOTALL)

# A number that may be 1 before a plural, as in "1 tasks": `counted` says it. "2 of 3 tasks" counts what the 3 are of.
COUNTED = re.compile(
    r"(?<!of )(?<!of those )\{[^{}A-Z]*\} (?:of (?:its|their|the) [a-z]+ (?:are|were|have|run)\b|"
    r"(?:(?:desired|misplaced|container|other|old|new|more|idle|reviewed|planned|running|healthy) )*"
    r"(?:tasks|services|instances|moves|requests|problems|tags|times|steps|clusters|replacements|others|are|were|have)\b)"
)
# ECS's own words have "has started 1 tasks". The lab of the probes is for those who develop them.
AS_THEY_ARE = ("ecs-simulator/src/scheduler", "conformance/src")


def prose(text):
    """A page without what is not prose: code blocks, tables, headings, comments, links' targets."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text)
    lines = [line for line in text.splitlines() if not line.startswith(("|", "#", "!["))]
    text = re.sub(r"\]\([^)]*\)", "]", "\n".join(lines))
    return re.sub(r"`[^`]*`", "NAME", text).replace("[", "").replace("]", "").replace("*", "")


def messages(words=WORDS):
    """The texts of the code that people may see, by file; tests and comments aside."""
    for path in sorted([*ROOT.glob("src/**/*.rs"), *ROOT.glob("ecs-simulator/src/**/*.rs"), *ROOT.glob("conformance/src/**/*.rs")]):
        if path.name in ("tests.rs", "testing.rs") or "tests" in path.parts:
            continue
        code = path.read_text().split("#[cfg(test)]\nmod tests {")[0]
        code = "\n".join(line for line in code.splitlines() if not line.lstrip().startswith(("//", "#[expect", "#!")))
        found = []
        for literal in LITERAL.findall(code):
            text = re.sub(r"\\\n\s*", "", literal).replace("\\n", " ").replace('\\"', '"')
            text = re.sub(r"\{[^{}]*\}", "`x`", text).replace("|", " ").strip()
            # What still holds the end of a line is code between two quotation marks.
            if "\n" not in text and len(re.findall(r"[A-Za-z]{2,}", text)) >= words and "</" not in text:
                found.append((text, literal))
        if found:
            yield path.relative_to(ROOT), found


def miscounted():
    """Messages that would say "1 tasks"."""
    for path, found in messages(1):
        if not str(path).startswith(AS_THEY_ARE):
            for text, literal in found:
                if counted := COUNTED.search(literal):
                    yield f"{path}: {counted.group()}: {text}"


def descriptions():
    for path in [ROOT / "schedule.tf", ROOT / "examples/conformance/main.tf"]:
        yield path.relative_to(ROOT), re.findall(r'(?:description|error_message)\s*=\s*"([^"]+)"', path.read_text())


def main():
    textlint, configuration, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    extracted = folder / "messages.md"
    number = 0
    with extracted.open("w") as file:
        for path, texts in [*((path, [text for text, _ in found]) for path, found in messages()), *descriptions()]:
            file.write(f"\n# {path}\n\n")
            file.writelines(f"- {text}\n" for text in texts)
            number += len(texts)
    if number < 200:
        sys.exit(f"only {number} messages were found in the code")
    pages = [ROOT / "README.md", ROOT / "benches/README.md", *(page for page in sorted(ROOT.glob("docs/src/*.md")) if page.name != "SUMMARY.md"), *sorted(ROOT.glob("examples/*/README.md"))]
    hard = []
    for page in pages:
        text = prose(page.read_text())
        if len(text.split()) < 50:
            continue
        grade = textstat.automated_readability_index(text)
        print(f"grade {grade:4.1f}  {page.relative_to(ROOT)}")
        if grade > HARDEST:
            hard.append(str(page.relative_to(ROOT)))
    print(f"{number} messages, {len(pages)} pages", flush=True)
    # The bench's table has names of code in it.
    linted = [page for page in pages if page.parent.name != "benches"]
    linted = subprocess.run([textlint, "--config", configuration, "--no-color", *map(str, linted), str(extracted)], check=False)
    if plurals := list(miscounted()):
        print("\n".join(["a number that may be 1 before a plural:", *plurals]), file=sys.stderr)
    if hard:
        print(f"above grade {HARDEST}: {', '.join(hard)}", file=sys.stderr)
    sys.exit(linted.returncode != 0 or bool(hard) or bool(plurals))


if __name__ == "__main__":
    main()

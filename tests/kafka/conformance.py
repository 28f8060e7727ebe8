"""Makes docs/conformance.md: which of Apache Kafka's rules the port keeps to.

    conformance.py RULES VERSION < what the tests said

A row is a rule, with the tests that hold it, which have asked both. One whose tests have not passed
is told, and ends this with an error; so does a rule without a test that there is, and a test that no
rule names.
"""

import pathlib
import re
import sys


def rules(path):
    lines = pathlib.Path(path).read_text().splitlines()
    for line in lines:
        if line and not line.startswith("#"):
            area, rule, tests = line.split("\t")
            yield area, rule, tests.split(", ")


def main(path, version):
    said = sys.stdin.read()
    told = re.findall(r"^test port::conformance::(\w+)::(\w+) \.\.\. (\w+)$", said, re.M)
    themes = {name: theme for theme, name, _ in told}
    passed = {name for _, name, how in told if how == "ok"}
    print("# Which of Kafka's rules the port keeps to\n")
    print(f"Made by `tests/kafka/run port --write`, which asks ottla and Apache Kafka {version} the same,"
          " byte by byte. A rule is here")
    print("if its tests, in `tests/it/port/conformance`, have passed with both."
          " What differs, and why, stands in [differences.md](differences.md).")
    wrong, named, area = [], set(), None
    for of, rule, tests in rules(path):
        missing = [test for test in tests if test not in passed]
        wrong += [f"{rule}: {test} has not passed" for test in missing]
        named.update(tests)
        if of != area:
            print(f"\n## {of}\n\n| rule | tests |\n|---|---|")
            area = of
        links = [f"`{themes.get(test, '?')}::{test}`" for test in tests]
        print(f"| {rule} | {', '.join(links)} |")
    wrong += [f"no rule names {test}" for test in sorted(themes.keys() - named)]
    count = sum(1 for _ in rules(path))
    print(f"\n{count} rules, {len(passed)} tests.")
    if wrong:
        sys.exit("\n".join(wrong))


main(*sys.argv[1:])

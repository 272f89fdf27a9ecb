"""Makes a Markdown table of the results of benches/check.py on several Pythons.

python benches/performance_table.py FILE ...    prints it; each FILE is from `check.py --json FILE`
python benches/performance_table.py --into PAGE FILE ...    puts it between the page's two marks
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- the table: make performance-table -->", "<!-- end of the table -->"


def table(runs: list[dict[str, Any]]) -> str:
    """Return the table, its rows in the order of the first run; a missing measure is a dash."""
    measured = [{what: value for what, _, value in run["rows"]} for run in runs]
    required = [{what: bound for what, bound, _ in run["rows"]} for run in runs]
    lines = [
        "| | required | " + " | ".join(run["python"] for run in runs) + " |",
        "|---|---|" + "---|" * len(runs),
    ]
    for what in measured[0]:
        bounds = " or ".join(dict.fromkeys(one[what] for one in required if what in one))
        values = " | ".join(one.get(what, "-") for one in measured)
        lines.append(f"| {what} | {bounds} | {values} |")
    first = runs[0]
    loads = ", ".join(f"{run['load']:.1f}" for run in runs)
    lines += [
        "",
        f"{first['processor']}; {first['system']}. Load average at the end of each run: {loads}.",
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="A table of several runs of benches/check.py.")
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--into", metavar="PAGE", help="put it into this page")
    arguments = parser.parse_args()
    text = table([json.loads(Path(file).read_text()) for file in arguments.files])
    if not arguments.into:
        print(text)
        return 0
    page = Path(arguments.into)
    marks = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.S)
    changed, count = marks.subn(lambda _: f"\n{text}\n\n", page.read_text())
    if count != 1:
        print(f"{page} has not the marks {BEGIN} and {END}", file=sys.stderr)
        return 1
    page.write_text(changed)
    return 0


if __name__ == "__main__":
    sys.exit(main())

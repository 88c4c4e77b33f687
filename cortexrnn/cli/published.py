"""The command on published numbers: validate."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cortexrnn.errors import EXIT_CHECK_FAILED


@click.command()
@click.argument("name", nargs=-1)
@click.option("--out", metavar="DIR", help="Folder for one page of all, and result.md and figure.svg of every target.")
@click.option("--quick", is_flag=True, help="Fewer or smaller networks where a target takes longer than a minute.")
def validate(name: tuple[str, ...], out: str | None, quick: bool) -> None:
    """Let published numbers come out: what the paper has, what we have, PASS or FAIL. All of them without NAME.

    NAME is that of a folder or a number of PAPER_MAP.md.

    Example: cortexrnn validate rajan_abbott_2006 C17 --out validated
    """
    from tqdm import tqdm

    from cortexrnn.validation import targets
    from cortexrnn.validation.page import write_page

    outcomes: list[targets.Outcome] = []
    with tqdm(targets.find(name), leave=False, disable=not sys.stderr.isatty()) as bar:
        for each in bar:
            bar.set_description(each)
            outcomes.append(targets.run(each, is_quick=quick))
            bar.write(outcomes[-1].show(), file=sys.stdout)
            sys.stdout.flush()
            if out:
                # The page grows while the targets run.
                outcomes[-1].save(Path(out) / each)
                write_page(Path(out) / "index.html", outcomes)
    if out:
        click.echo(f"Page: {Path(out) / 'index.html'}")
    failed = [outcome.study.name for outcome in outcomes if not outcome.passed]
    if failed:
        click.echo(f"cortexrnn: failed: {', '.join(failed)}", err=True)
        sys.exit(EXIT_CHECK_FAILED)

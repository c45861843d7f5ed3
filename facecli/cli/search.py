"""`facecli search`: find the photos with the most similar faces."""

from __future__ import annotations

from typing import Any

import click

from facecli.cli.choices import number
from facecli.cli.completing import complete_queries
from facecli.cli.limiting import limit_options
from facecli.cli.names import Name
from facecli.cli.options import Common, ExampleCommand, common_options, face_option, model_options, threshold_option
from facecli.cli.printing import format_options

EXAMPLES = """
facecli search me.jpg                       the ten best photos
facecli search -l -k 0 me.jpg               the paths of all matches
facecli search --files-from wanted.txt --json --all-queries
facecli search -0 -k 0 me.jpg | xargs -0 cp -t found/
facecli search --combine mean a.jpg b.jpg   two references of one person
facecli search --face all group.jpg         results for each face
facecli search face:12 --json | jq -r .path
facecli search Anna                         the photos of a person with a name
facecli search Anna Ben --combine all       the photos that show both
facecli search me.jpg --html found.html     an HTML page with the photos
facecli search me.jpg --after 2004 --before 2006-07 --near 48.2,16.37
curl -s URL | facecli search -              an image on stdin
"""


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.argument("queries", metavar="[QUERY]...", nargs=-1, type=Name(), shell_complete=complete_queries)
@click.option(
    "--files-from",
    metavar="FILE|-",
    type=Name(),
    help="Read the queries from a list, one per line; with -0 NUL-separated.",
)
@click.option(
    "-k",
    "--top",
    metavar="N",
    type=number("top"),
    help="Maximum rows per query; 0 for all; default 10. Pages, links and copies take all unless it is given.",
)
@threshold_option(
    "Minimum similarity: a number, loose, balanced, strict, none, or auto: depends on the index size, with a chance of "
    "one in ten that any stranger passes."
)
@face_option("largest", "Which face of a query photo to search for.")
@click.option(
    "--combine",
    type=click.Choice(["any", "mean", "separate", "all"]),
    default="separate",
    show_default=True,
    help="Several queries: match any of them, match their mean (one person), search each separately, or find the "
    "photos that show all of them.",
)
@click.option(
    "--by",
    type=click.Choice(["photo", "face"]),
    default="photo",
    show_default=True,
    help="One row per photo (its best face) or per face.",
)
@click.option(
    "--bursts",
    is_flag=True,
    help="One row for photos of one camera with the same person, each taken within 2 seconds of the one before.",
)
@format_options("paths", "print0", "json", "csv")
@click.option("--all-queries", is_flag=True, help="With --json: also print a record for each query without a match.")
@click.option("--missing", is_flag=True, help="With -l or -0: keep photos whose files are gone.")
@click.option("--provenance", is_flag=True, help="With --json: first print the model, threshold and index used.")
@click.option(
    "--exact",
    is_flag=True,
    help="Compare all faces, also in large indexes, where a first pass by short codes is faster.",
)
@click.option(
    "--show",
    is_flag=True,
    help="Draw the faces on the terminal; FACECLI_GRAPHICS sets the protocol: kitty, iterm2, sixel, blocks.",
)
@click.option(
    "--html",
    metavar="FILE",
    type=Name(dir_okay=False),
    help="Write an HTML page with the faces and photos found, - for stdout; replaces an earlier page.",
)
@click.option("--open", "open_page", is_flag=True, help="With --html: show the page in the browser.")
@click.option(
    "--link-to",
    metavar="DIR",
    type=Name(file_okay=False),
    help="Link the photos found into DIR; never overwrites a file.",
)
@click.option(
    "--copy-to",
    metavar="DIR",
    type=Name(file_okay=False),
    help="Copy the photos found into DIR; never overwrites a file.",
)
@click.option("--dry-run", is_flag=True, help="With --link-to or --copy-to: print what would be done, change nothing.")
@limit_options
@model_options
@common_options
def search(common: Common, **given: Any) -> int:
    """Find the photos with the most similar faces.

    A QUERY is an image file, - for an image on stdin, face:ID for a face of the index, or a person: person:ID,
    person:NAME, or a NAME that no file has; a person's photos are those of its faces in the index. Prints a table on a
    terminal, tab-separated rows in a pipe: similarity, path, face, box, and `missing` if the photo's file is gone. Exit
    code 0: match found, 1: no match, 2: error.
    """
    from facecli.cli.search_run import SearchArguments, SearchRun  # noqa: PLC0415 (not for --help)

    return SearchRun(common, SearchArguments(**given)).run()

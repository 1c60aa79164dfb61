"""`hl7bridge export`: what the store holds, as a SQLite file for datasette, spreadsheets and questions of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hl7bridge.cli import output, stored
from hl7bridge.cli.output import ConfigOption, JsonOption


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE.db", help="The file to write; it must not exist.")],
    bodies: Annotated[bool, typer.Option("--bodies", help="Also the messages as they were received.")] = False,
    config: ConfigOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Export into a SQLite file for other programs: messages, people, deliveries, tasks and decisions.

    \b
      hl7bridge export staff.db
      hl7bridge export staff.db --bodies
      datasette staff.db                    or: sqlite-utils rows staff.db tasks --csv

    Tables: messages, acknowledgments, deliveries, people (who is whom at which server), tasks, history, and decisions (who
    decided what, and why). Times are ISO 8601 in UTC. The file holds staff keys, and with --bodies all that senders sent: it
    is made for this user alone. It tells of one moment; the service runs on meanwhile.
    """
    from hl7bridge.config import load
    from hl7bridge.desk import reports

    with stored.opened(load(config)) as store, output.progress_of_bytes("writing", 0, "rows") as at:
        counts = reports.export(store, file, bodies=bodies, told=lambda rows: at(0, rows))
    if as_json:
        output.show_json("export/1", {"file": str(file), "rows": counts})
    else:
        output.say(f"{file} is written: " + ", ".join(f"{count:,} {table}" for table, count in counts.items()))

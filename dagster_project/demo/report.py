"""The demo's summary: collected from one run, written for the terminal and as one HTML page."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_project.demo import sections as demo_sections
from dagster_project.demo.sections import Section
from dagster_project.models import train as training_run
from feature_repo.contract.files import replace_file
from feature_repo.contract.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

UI = "make ui   (then open http://127.0.0.1:3000)"
_STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#1d2730}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:1.8rem 0 .4rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .7rem .25rem 0;border-bottom:1px solid #dde3e8;vertical-align:top;font-variant-numeric:tabular-nums}
th{color:#5b6b79;font-weight:600}p.note{color:#5b6b79;margin:.3rem 0}.bad{color:#a12622}img{max-width:100%}"""  # noqa: E501


@dataclass(frozen=True)
class Summary:
    """All that is shown.

    Parameters
    ----------
    success : bool
        Whether every asset was made.
    seconds : float
        Wall time of the command.
    run_id : str
        Of Dagster's run.
    sections : tuple of Section
        In order.
    """

    success: bool
    seconds: float
    run_id: str
    sections: tuple[Section, ...]


def collect(settings: Settings, result: dg.ExecuteInProcessResult, seconds: float) -> Summary:
    """Gather what one run produced.

    Parameters
    ----------
    settings : Settings
        Where the tables are.
    result : ExecuteInProcessResult
        The run.
    seconds : float
        Wall time so far.

    Returns
    -------
    Summary
        Sections whose assets the run did not make say so.
    """
    facts: dict[str, dict[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        done = event.materialization
        facts["/".join(done.asset_key.path)] = {name: plain(value) for name, value in done.metadata.items()}
    results = []
    for evaluated in result.get_asset_check_evaluations():
        asset = "/".join(evaluated.asset_key.path)
        results.append(
            demo_sections.CheckResult(
                asset,
                evaluated.check_name,
                evaluated.passed,
                evaluated.severity.value == "ERROR",
                evaluated.description or "",
            )
        )
        facts.setdefault(asset, {})[f"check:{evaluated.check_name}"] = evaluated.description
    latest = training_run.latest(settings)
    made = (facts.get("candidate_model") or {}).get("version")
    report = latest.report if latest is not None and latest.version == made else None
    sections = (
        demo_sections.tables(settings, facts),
        demo_sections.intents(facts),
        demo_sections.quality(facts, report),
        demo_sections.streaming(facts),
        demo_sections.parity(facts),
        demo_sections.sessions(settings, facts),
        demo_sections.checks(results),
    )
    return Summary(result.success, seconds, result.run_id, sections)


def plain(value: Any) -> Any:
    """Return what a metadata value holds."""
    return getattr(value, "data", None) if hasattr(value, "data") else getattr(value, "value", value)


def to_text(summary: Summary, file: Path) -> str:
    """Write the summary for a terminal.

    Parameters
    ----------
    summary : Summary
        What to show.
    file : Path
        The HTML page, named at the end.

    Returns
    -------
    str
        Plain text.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=150, highlight=False, emoji=False, markup=False)
    with console.capture() as captured:
        for section in summary.sections:
            # not as the table's title, which a narrow table would break over lines
            console.print(section.title)
            table = Table(box=box.SIMPLE_HEAD, show_header=any(section.head))
            for name in section.head:
                table.add_column(name, overflow="fold")
            for row in section.rows:
                table.add_row(*row)
            console.print(table)
            if section.note:
                console.print(f"  {section.note}\n")
        word = "done" if summary.success else "FAILED"
        console.print(f"{word} in {summary.seconds:.0f} s; Dagster run {summary.run_id[:8]}")
        console.print(f"report  {file}\ngraph   {UI}")
    return captured.get()


def write_html(settings: Settings, summary: Summary) -> Path:
    """Write the summary as one page without outside parts.

    Parameters
    ----------
    settings : Settings
        ``home``: the page is ``home/demo/report.html``.
    summary : Summary
        What to show.

    Returns
    -------
    Path
        The page; replaced at once, never half-written.
    """
    file = settings.home / "demo" / "report.html"
    replace_file(file, to_html(summary))
    return file


def to_html(summary: Summary) -> str:
    """Return the page.

    Parameters
    ----------
    summary : Summary
        What to show; every text is escaped, since titles and intents come from data and from a language
        model.

    Returns
    -------
    str
        A whole HTML document.
    """
    body = "".join(_section(section) for section in summary.sections)
    state = "all assets made" if summary.success else '<span class="bad">some assets failed</span>'
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>IntentStore '
        f"demo</title><style>{_STYLE}</style></head><body>"
        f"<h1>IntentStore demo</h1><p>{when}; {summary.seconds:.0f} s; Dagster run "
        f"{html.escape(summary.run_id[:8])}; {state}. Every figure on this page was produced by this run, "
        f"or says that it was not.</p>{body}<h2>The "
        f"graph</h2><p><code>{html.escape(UI)}</code></p></body></html>"
    )


def _row(cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _section(section: Section) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in section.head) if any(section.head) else ""
    rows = "".join(map(_row, section.rows))
    note = f'<p class="note">{html.escape(section.note)}</p>' if section.note else ""
    return (
        f"<h2>{html.escape(section.title)}</h2><table>{f'<tr>{head}</tr>' if head else ''}{rows}</table>"
        f"{note}"
    )

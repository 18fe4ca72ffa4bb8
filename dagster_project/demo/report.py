"""The demo's summary: collected from one run, written for the terminal and as one HTML page."""

from __future__ import annotations

import html
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_project.demo import sections as demo_sections
from dagster_project.demo.live import live_quality
from dagster_project.demo.named import named_intents
from dagster_project.demo.sections import Section
from dagster_project.models import train as training_run
from feature_repo.contract.files import replace_file
from feature_repo.contract.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

UI = "make ui   (then open http://127.0.0.1:3000)"


@dataclass(frozen=True)
class Try:
    """A command to copy, and what it shows."""

    command: str
    shows: str


_STYLE = """:root{color-scheme:light dark;--ink:#1d2730;--soft:#5b6b79;--line:#dde3e8;--back:#fff;--own:#0b6e8f;--other:#b4562b;--intent:#6a9a1f;--bad:#a12622}
@media(prefers-color-scheme:dark){:root{--ink:#e4eaef;--soft:#9fb0bd;--line:#33414c;--back:#12181d;--own:#58bfe0;--other:#f0965f;--intent:#a9d65b;--bad:#ff8a80}}
body{font:15px/1.45 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:var(--ink);background:var(--back)}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:1.8rem 0 .4rem}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .7rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top;font-variant-numeric:tabular-nums}
th{color:var(--soft);font-weight:600}p.note{color:var(--soft);margin:.3rem 0}.bad{color:var(--bad)}pre{white-space:pre-wrap;overflow-wrap:anywhere}
svg{width:100%;max-width:640px;height:auto;display:block;margin:.6rem 0}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}
svg .own{fill:var(--own);stroke:var(--own)}svg .other{fill:var(--other);stroke:var(--other)}svg .intent{fill:var(--intent)}svg .faint{fill:var(--line)}
svg line{stroke-width:3}svg polyline{fill:none;stroke-width:2.5}svg .grid{stroke:var(--line);stroke-width:1}svg .axis{stroke:var(--soft);stroke-width:1;stroke-dasharray:4}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr));gap:.8rem}.cards article{border:1px solid var(--line);border-radius:8px;padding:.6rem .9rem}
dl{margin:0}dt{color:var(--soft);font-size:.85rem;margin-top:.4rem}dd{margin:0;overflow-wrap:anywhere}"""  # noqa: E501


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
    tries : tuple of Try
        What to do next.
    """

    success: bool
    seconds: float
    run_id: str
    sections: tuple[Section, ...]
    tries: tuple[Try, ...] = ()


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
        live_quality(settings),
        named_intents(settings),
        demo_sections.checks(results),
    )
    tries = _tries(settings, demo_sections.clicked(settings, facts)) if result.success else ()
    return Summary(result.success, seconds, result.run_id, sections, tries)


def _tries(settings: Settings, items: Sequence[str]) -> tuple[Try, ...]:
    """Return three commands that go on from here; each runs as it stands."""
    home = shlex.quote(str(settings.home))
    session = shlex.quote(",".join(items))
    promoted = shlex.quote(str(settings.models_dir / "promoted"))
    asked = Try(f"intentstore recommend --model {promoted} --session {session} -k 5", "what is next, and why")
    return (
        *([asked] if items else []),
        Try(f"intentstore features catalogue --home {home}", "every feature: meaning, freshness, values"),
        Try(f"intentstore ui --home {home}", "the graph that made it, on http://127.0.0.1:3000"),
    )


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
        console.print(f"report  {file}\ngraph   {UI}", soft_wrap=True)
        for number, attempt in enumerate(summary.tries):
            console.print(
                f"{'try' if number == 0 else '':7} {attempt.command}   # {attempt.shows}", soft_wrap=True
            )
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
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>IntentStore '
        f"demo</title><style>{_STYLE}</style></head><body>"
        f"<h1>IntentStore demo</h1><p>{when}; {summary.seconds:.0f} s; Dagster run "
        f"{html.escape(summary.run_id[:8])}; {state}. Every figure on this page was produced by this run, "
        f"or says that it was not.</p>{body}<h2>The "
        f"graph</h2><p><code>{html.escape(UI)}</code></p>{_attempts(summary.tries)}</body></html>"
    )


def _attempts(tries: Sequence[Try]) -> str:
    lines = "\n".join(f"{attempt.command}   # {attempt.shows}" for attempt in tries)
    return f"<h2>Try</h2><pre>{html.escape(lines)}</pre>" if tries else ""


def _row(cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _section(section: Section) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in section.head) if any(section.head) else ""
    rows = "".join(map(_row, section.rows))
    note = f'<p class="note">{html.escape(section.note)}</p>' if section.note else ""
    table = f'<div class="wide"><table>{f"<tr>{head}</tr>" if head else ""}{rows}</table></div>'
    shown = _cards(section) if section.cards else table
    return f"<h2>{html.escape(section.title)}</h2>{''.join(section.pictures)}{shown}{note}"


def _cards(section: Section) -> str:
    cards = []
    for row in section.rows:
        pairs = zip(section.head, row, strict=True)
        said = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(cell)}</dd>" for name, cell in pairs)
        cards.append(f"<article><dl>{said}</dl></article>")
    return f'<div class="cards">{"".join(cards)}</div>'

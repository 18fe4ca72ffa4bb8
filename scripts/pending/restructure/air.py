"""Makes the text of one Python file airy where `ruff format` cannot: comments, docstrings and strings beyond the width. Pure functions."""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize

from references import Edits

WIDTH = 110
_PRAGMA = re.compile(r"#\s*(noqa|type:|fmt:|pragma|ruff|mypy|pylint|!)")
_REASON = re.compile(r"(?P<pragma># (?:noqa: [A-Z0-9]+(?:, ?[A-Z0-9]+)*|type: ignore\[[\w, -]+\]))\s+(?:-|#)\s+(?P<reason>.+)")
_SKIP = re.compile(r"[ \t]*# fmt: skip[ \t]*$", re.MULTILINE)


def _tokens(text: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(text).readline))


def drop_skips(text: str) -> str:
    """Remove `# fmt: skip` but on tables of plain literals, at the module's level and within the width."""
    if "# fmt: skip" not in text:
        return text
    lines = text.split("\n")
    keep = set()
    for node in ast.parse(text).body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Dict | ast.Tuple | ast.List | ast.Set) and _plain(value):
            if all(len(_SKIP.sub("", lines[at])) + 13 <= WIDTH for at in range(node.lineno - 1, node.end_lineno or 0)):
                keep.add((node.end_lineno or 0) - 1)
    return "\n".join(line if at in keep else _SKIP.sub("", line) for at, line in enumerate(lines))


def _plain(value: ast.AST) -> bool:
    banned = (ast.Call, ast.Lambda, ast.ListComp, ast.DictComp, ast.GeneratorExp, ast.Starred, ast.JoinedStr, ast.IfExp)
    return not any(isinstance(node, banned) for node in ast.walk(value))


def hoist_comments(text: str) -> str:
    """Put a comment that stands behind code, on a line beyond the width, above that line."""
    edits = Edits(text)
    lines = text.split("\n")
    statement = depth = 0
    fresh = True
    starts: dict[int, int] = {}  # line to the line on which its statement starts
    opened: list[int] = []
    for token in _tokens(text):
        if fresh and token.type not in (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE):
            statement, fresh = token.start[0], False
        starts[token.start[0]] = statement
        if token.type == tokenize.NEWLINE:
            fresh = True
        if token.type == tokenize.OP and token.string in "([{":
            opened.append(token.start[0])
        if token.type == tokenize.OP and token.string in ")]}":
            depth = opened.pop()
            starts[-token.start[0]] = depth
        if token.type != tokenize.COMMENT:
            continue
        line = lines[token.start[0] - 1]
        before = line[: token.start[1]]
        reason = _REASON.fullmatch(token.string)
        if not before.strip() or len(line) <= WIDTH or (_PRAGMA.match(token.string) and not reason):
            continue
        at = token.start[0]
        body = before.strip()
        indent = re.match(r"\s*", before)[0]  # type: ignore[index]
        words = reason["reason"] if reason else token.string.lstrip("#").strip()
        left = f"  {reason['pragma']}" if reason else ""
        edits.replace(edits.at(at, len(before.rstrip())), edits.at(*token.end), left)
        if re.match(r"(else|elif|except|finally)\b", body) and body.endswith(":"):
            start = edits.at(at + 1, 0)
            indent += "    "
        else:
            if body[0] in ")]}":
                at = starts[-at] if body.endswith((",", *")]}")) and not body.endswith(":") else starts[at]
                at = min(at, starts.get(at, at)) if "\n" not in body else at
            start = edits.at(at, 0)
            indent = re.match(r"\s*", lines[at - 1])[0]  # type: ignore[index]
        wrapped = _fill(words, f"{indent}# ")
        edits.spans.append((start, start, "".join(f"{row}\n" for row in wrapped)))
    return edits.result()


def _fill(words: str, prefix: str, hang: str | None = None, width: int = WIDTH) -> list[str]:
    return textwrap.wrap(
        words,
        width,
        initial_indent=prefix,
        subsequent_indent=prefix if hang is None else hang,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [prefix.rstrip()]


_MARK = re.compile(r"(?:[-*•]|\d+\.|\[\d+\])\s+")
_COLUMN = re.compile(r"\S.*?\s{2,}(?=\S)")


def _paragraphs(rows: list[str], indent_of: int, width: int = WIDTH) -> list[str]:
    """Refill, from each row beyond the width on to the end of its paragraph. Rows carry their indentation."""
    out: list[str] = []
    at = 0
    while at < len(rows):
        row = rows[at]
        if len(row) + indent_of <= width or not row.strip():
            out.append(row)
            at += 1
            continue
        lead = re.match(r"\s*", row)[0]  # type: ignore[index]
        body = row[len(lead) :]
        if body.startswith((">>>", "...", "http", "| ", "```")):
            out.append(row)
            at += 1
            continue
        mark = _MARK.match(body) or _COLUMN.match(body)
        hang = lead + " " * (len(mark[0]) if mark else 0)
        if mark and len(mark[0]) > 40:
            mark, hang = None, lead
        words = body
        at += 1
        while at < len(rows) and _continues(rows[at], hang):
            words += " " + rows[at].strip()
            at += 1
        if mark:
            rest = textwrap.wrap(words[len(mark[0]) :], width - indent_of - len(hang), break_long_words=False, break_on_hyphens=False)
            out += [lead + mark[0] + rest[0], *(hang + more for more in rest[1:])]
        else:
            out += textwrap.wrap(
                words, width - indent_of, initial_indent=lead, subsequent_indent=lead, break_long_words=False, break_on_hyphens=False
            )
    return out


def _continues(row: str, hang: str) -> bool:
    body = row.strip()
    if not body or row[: len(hang)] != hang or row[len(hang) : len(hang) + 1] in (" ", ""):
        return False
    if body.startswith((">>>", "...", "| ", "--", "==", "```")) or _MARK.match(body) or _COLUMN.match(body):
        return False
    return not re.match(r"[\w*, ]+ : ", body)


def wrap_comments(text: str) -> str:
    """Refill comments on lines of their own that go beyond the width."""
    lines = text.split("\n")
    own = {
        token.start[0] - 1: token.start[1]
        for token in _tokens(text)
        if token.type == tokenize.COMMENT and not lines[token.start[0] - 1][: token.start[1]].strip()
    }
    out: list[str] = []
    at = 0
    while at < len(lines):
        if at not in own:
            out.append(lines[at])
            at += 1
            continue
        column, block = own[at], []
        while at in own and own[at] == column:
            block.append(lines[at])
            at += 1
        if any(len(row) > WIDTH for row in block):
            bodies = [row[column + 1 :] for row in block]
            if not any(_PRAGMA.match(row[column:]) for row in block):
                block = [f"{' ' * column}#{row}" for row in _paragraphs(bodies, column + 1)]
        out += block
    return "\n".join(out)


def _strings(text: str) -> list[tuple[list[tokenize.TokenInfo], tokenize.TokenInfo | None, tokenize.TokenInfo | None]]:
    """Groups of adjacent strings, each with the token before and behind."""
    quiet = (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT)
    tokens = [token for token in _tokens(text) if token.type not in quiet]
    groups, at = [], 0
    while at < len(tokens):
        if tokens[at].type != tokenize.STRING:
            at += 1
            continue
        end = at
        while tokens[end].type == tokenize.STRING:
            end += 1
        groups.append((tokens[at:end], tokens[at - 1] if at else None, tokens[end]))
        at = end
    return groups


def _is_docstring(before: tokenize.TokenInfo | None, behind: tokenize.TokenInfo | None) -> bool:
    starts = before is None or before.type in (tokenize.NEWLINE, tokenize.ENCODING) or before.string == ":"
    return starts and behind is not None and behind.type in (tokenize.NEWLINE, tokenize.ENDMARKER)


def wrap_docstrings(text: str) -> str:
    """Refill docstrings that go beyond the width; doctests are left, but for their output."""
    edits = Edits(text)
    lines = text.split("\n")
    for group, before, behind in _strings(text):
        token = group[0]
        if len(group) > 1 or not _is_docstring(before, behind) or '"""' not in token.string[:5]:
            continue
        rows = lines[token.start[0] - 1 : token.end[0]]
        if all(len(row) <= WIDTH for row in rows):
            continue
        column = token.start[1]
        opening = token.string[: token.string.index('"""') + 3]
        inner = token.string[len(opening) : -3].split("\n")
        bodies = [" " * (column + len(opening)) + inner[0], *inner[1:]]
        edits.replace(edits.at(*token.start), edits.at(*token.end), opening + _docstring(bodies, column, len(opening)))
    return edits.result()


def _docstring(rows: list[str], column: int, opening: int) -> str:
    first, rest = rows[0], rows[1:]
    pad = " " * column
    if not rest:
        filled = _fill(first.strip(), " " * (column + opening), pad)
        if len(filled) == 1:  # the closing quotes alone are too much
            filled = _fill(first.strip(), " " * (column + opening), pad, WIDTH - 4)
        return "\n".join([filled[0].strip(), *filled[1:], f'{pad}"""'])
    if len(first) > WIDTH:
        take = 0
        while take < len(rest) and _continues(rest[take], pad):
            take += 1
        words = " ".join([first.strip(), *(row.strip() for row in rest[:take])])
        head = _fill(words, " " * (column + opening), pad)
        # Closing quotes behind the last row of a paragraph stay where they were.
        rest = [*head[1:], *rest[take:]]
        first = head[0]
        if take and not rest[len(head) - 1 :]:
            rest.append(pad)
    rest = _doctest_output(_paragraphs(rest, 0))
    if rest[-1].strip():
        rest.append(pad)
    return "\n".join([first.strip(), *rest]) + '"""'


def one_statement_each(text: str) -> str:
    """Give each statement of a doctest its own prompt: the formatter would make `a; b` one input of two, which no doctest takes."""
    return _PROMPT.sub(_apart, text) if ">>>" in text else text


_PROMPT = re.compile(r"^(?P<lead>[ \t]*)>>> (?P<body>[^\n]*; [^\n]*)$(?!\n[ \t]*\.\.\.)", re.MULTILINE)


def _apart(match: re.Match[str]) -> str:
    body = match["body"].strip()
    try:
        statements = ast.parse(body).body
    except SyntaxError:
        return match[0]
    if len(statements) < 2 or not all(isinstance(node, ast.Expr | ast.Assign | ast.Import | ast.ImportFrom | ast.AugAssign | ast.AnnAssign) for node in statements):
        return match[0]
    return "\n".join(f"{match['lead']}>>> {ast.get_source_segment(body, node)}" for node in statements)


def _doctest_output(rows: list[str]) -> list[str]:
    return rows


_PREFIX = re.compile(r"([A-Za-z]*)(\"|')(?!\2\2)")


_ENDS = re.compile(r"\s*# (?:noqa|type: ignore).*$")


def _long(line: str) -> bool:
    return len(_ENDS.sub("", line)) > WIDTH


def split_strings(text: str) -> str:
    """Split strings on lines beyond the width into adjacent ones, at spaces; a whole literal gets a noqa behind it."""
    edits = Edits(text)
    lines = text.split("\n")
    for group, before, behind in _strings(text):
        touched = lines[group[0].start[0] - 1 : group[-1].end[0]]
        if _is_docstring(before, behind) or not any(map(_long, touched)):
            continue
        if len(group) == 1 and group[0].start[0] != group[0].end[0]:
            _excuse(edits, lines, group[0])
            continue
        start, end = group[0].start, group[-1].end
        if any(token.string.endswith(('"""', "'''")) for token in group) or not any(
            _long(lines[token.start[0] - 1]) for token in group
        ):
            continue
        alone = not lines[start[0] - 1][: start[1]].strip()
        bare = alone and ((before and before.string == "(" and behind and behind.string == ")") or start[0] != end[0])
        lead = re.match(r"\s*", lines[start[0] - 1])[0]  # type: ignore[index]
        indent = start[1] if bare else len(lead) + 4
        rows = [row for run in _runs(group, lines) for row in _respell(run, lines, WIDTH - indent - 1)]
        if rows == [token.string for token in group] and (bare or alone):
            continue
        joined = ("\n" + " " * indent).join(rows)
        between = text[edits.at(*start) : edits.at(*end)]
        if re.search(r"(?m)#[^\"']*$", between):
            continue
        edits.replace(edits.at(*start), edits.at(*end), joined if bare else f"(\n{' ' * indent}{joined}\n{lead})")
    return edits.result()


def _excuse(edits: Edits, lines: list[str], token: tokenize.TokenInfo) -> None:
    # A text of several lines is what it is: a query, a script, a style sheet.
    last = lines[token.end[0] - 1]
    if "# noqa" not in last:
        at = edits.at(token.end[0], len(last))
        edits.spans.append((at, at, "  # noqa: E501"))


def _runs(group: list[tokenize.TokenInfo], lines: list[str]) -> list[list[tokenize.TokenInfo]]:
    """Neighbours that can be joined: same quotes, same kind."""
    runs: list[list[tokenize.TokenInfo]] = []
    for token in group:
        head = _PREFIX.match(token.string)
        assert head
        kind = (head[1].lower().replace("f", ""), head[2])
        last = _PREFIX.match(runs[-1][0].string) if runs else None
        if last and (last[1].lower().replace("f", ""), last[2]) == kind:
            runs[-1].append(token)
        else:
            runs.append([token])
    return runs


def _respell(run: list[tokenize.TokenInfo], lines: list[str], room: int) -> list[str]:
    if all(len(token.string) <= room for token in run):
        return [token.string for token in run]
    return _pieces(run, [_PREFIX.match(token.string) for token in run], room)  # type: ignore[misc]


def _pieces(group: list[tokenize.TokenInfo], heads: list[re.Match[str]], room: int) -> list[str]:
    quote = heads[0][2]
    kind = heads[0][1].lower().replace("f", "")
    formatted = any("f" in head[1].lower() for head in heads)
    runs: list[str] = [""]
    for token, head in zip(group, heads, strict=True):
        body = token.string[head.end() : -1]
        if formatted and "f" not in head[1].lower():
            body = body.replace("{", "{{").replace("}", "}}")
        runs[-1] += body
        if body.endswith("\\n"):
            runs.append("")
    pieces = []
    for run in filter(None, runs):
        for part in _cut(run, room - 3 - len(kind), formatted):
            braces = formatted and ("{" in part or "}" in part)
            if braces and not re.search(r"(?<!\{)\{(?!\{)", part.replace("{{", "")):
                part, braces = part.replace("{{", "{").replace("}}", "}"), False
            pieces.append(f"{kind}{'f' if braces else ''}{quote}{part}{quote}")
    return pieces


def _cut(body: str, room: int, formatted: bool) -> list[str]:
    """Cut behind spaces, outside of the fields of an f-string."""
    if "\\N{" in body:
        return [body]
    cuts, spare, depth, at = [], [], 0, 0
    while at < len(body):
        char = body[at]
        if formatted and body[at : at + 2] in ("{{", "}}") and (depth == 0):
            at += 2
            continue
        if depth == 0 and char in "<{" and at:
            spare.append(at)
        if formatted and char == "{":
            depth += 1
        elif formatted and char == "}":
            depth -= 1
        elif char == "\\":
            at += 2
            if body[at - 2 : at] == "\\n" and depth == 0:
                cuts.append(at)
            continue
        elif char == " " and depth == 0 and body[at + 1 : at + 2] != " ":
            cuts.append(at + 1)
        at += 1
    pieces, start = [], 0
    while len(body) - start > room:
        fits = [cut for cut in cuts if start < cut <= start + room] or [cut for cut in spare if start < cut <= start + room]
        later = [cut for cut in cuts if cut > start + room]
        if not fits and not later:
            break
        cut = fits[-1] if fits else later[0]
        pieces.append(body[start:cut])
        start = cut
    return [*pieces, body[start:]] if body[start:] else pieces


def too_long(text: str) -> list[int]:
    """Lines (from 1) that are still beyond the width."""
    return [at for at, line in enumerate(text.split("\n"), 1) if len(line) > WIDTH]

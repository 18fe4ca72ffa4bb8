"""Names that public click logs give to our columns, sessions before users. Knows nothing of files."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

# In order of preference; a name of ours that is not here is known by itself alone. So write MovieLens,
# RecBole, Yoochoose, REES46, RetailRocket, OTTO, Diginetica, Coveo, Amazon, H&M, Tmall and Taobao.
KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "session_id": (
        "session_id",
        "SessionId",
        "sessionId",
        "SessionID",
        "sessionid",
        "session",
        "session_id_hash",
        "user_session",
        "session_key",
        "visit_id",
        "visitId",
        "visitorid",
        "visitorId",
        "visitor_id",
        "user_id",
        "userId",
        "UserId",
        "userid",
        "user",
        "uid",
        "customer_id",
        "CustomerID",
        "reviewerID",
    ),
    "item_id": (
        "item_id",
        "ItemId",
        "itemId",
        "ItemID",
        "itemid",
        "product_id",
        "productId",
        "ProductId",
        "productid",
        "product_sku_hash",
        "product_sku",
        "sku",
        "aid",
        "article_id",
        "articleId",
        "movieId",
        "movie_id",
        "parent_asin",
        "asin",
        "track_id",
        "reference",
    ),
    "event_time": (
        "event_time",
        "Time",
        "timestamp",
        "Timestamp",
        "time",
        "ts",
        "event_timestamp",
        "eventTime",
        "datetime",
        "server_timestamp_epoch_ms",
        "unixReviewTime",
        "time_stamp",
        "created_at",
        "eventdate",
        "t_dat",
        "date",
        "Date",
    ),
    "user_id": ("user_id", "userId", "UserId", "userid", "visitorid", "visitorId", "customer_id"),
    "event_type": ("event_type", "event", "type", "behavior", "behavior_type", "action_type"),
    "title": (
        "title",
        "movie_title",
        "name",
        "product_name",
        "productName",
        "product_title",
        "item_name",
        "prod_name",
        "Title",
    ),
    "category": (
        "category",
        "class",
        "genres",
        "category_name",
        "category_code",
        "categories",
        "main_category",
        "product_category",
    ),
    "description": ("description", "detail_desc"),
    "available": ("available", "is_available", "in_stock"),
}
ITEM_COLUMNS = ("item_id", "title", "category", "description", "available")
_USERS = ("user_id", "userId", "UserId", "userid", "user", "uid", "customer_id", "CustomerID", "reviewerID")
_TYPED = re.compile(r":(token|float|token_seq|float_seq)$")  # RecBole writes the type behind the name


def known_names(ours: str) -> tuple[str, ...]:
    """Return what files call a column of ours, the most probable name first.

    Examples
    --------
    >>> known_names("event_id"), known_names("description")
    (('event_id',), ('description', 'detail_desc'))
    """
    return KNOWN_NAMES.get(ours, (ours,))


def plain_name(name: str) -> str:
    """Return a column's name without white space around it and without RecBole's type.

    Examples
    --------
    >>> plain_name("user_id:token")
    'user_id'
    """
    return _TYPED.sub("", name.strip())


def matched(
    present: Sequence[str], wanted: Sequence[str], named: dict[str, str] | None = None
) -> dict[str, str]:
    """Find the column of each name of ours.

    Parameters
    ----------
    present : sequence of str
        Columns of the file.
    wanted : sequence of str
        Our names.
    named : dict, optional
        Our name to the file's, where the user says it.

    Returns
    -------
    dict
        Our name to the file's, without those that have none. A column stands for one of ours only.

    Examples
    --------
    >>> matched(["user_id", "user_session", "product_id"], ["session_id", "item_id", "user_id"])
    {'session_id': 'user_session', 'item_id': 'product_id', 'user_id': 'user_id'}
    """
    plain: dict[str, str] = {}
    for column in present:
        plain.setdefault(plain_name(column), column)
    found: dict[str, str] = {}
    for ours in wanted:
        candidates = (named[ours],) if named and ours in named else known_names(ours)
        theirs = next(
            (plain[name] for name in candidates if name in plain and plain[name] not in found.values()), None
        )
        if theirs is None and named and ours in named and named[ours] in present:
            theirs = named[ours]
        if theirs is not None:
            found[ours] = theirs
    return found


def with_our_names(table: pa.Table, wanted: Sequence[str], file: str) -> tuple[pa.Table, tuple[str, ...]]:
    """Rename the columns of a public log to ours, where ours are missing.

    Parameters
    ----------
    table : pa.Table
    wanted : sequence of str
        Our names.
    file : str
        For the notes.

    Returns
    -------
    table : pa.Table
        Other columns stay as they are. A user is not taken for a session here: that is a choice of
        `model.data.prepare`.
    notes : tuple of str
        One line that names what was renamed.
    """
    missing = [name for name in wanted if name not in table.column_names]
    sessions = (
        [column for column in table.column_names if plain_name(column) not in _USERS]
        if "session_id" in missing
        else table.column_names
    )
    others = [column for column in sessions if column not in wanted]
    renamed = {theirs: ours for ours, theirs in matched(others, missing).items()}
    if not renamed:
        return table, ()
    shown = ", ".join(f"{ours} = '{theirs}'" for theirs, ours in renamed.items())
    return table.rename_columns([renamed.get(name, name) for name in table.column_names]), (
        f"{file}: columns are read by their known names: {shown}",
    )

"""Where each column of a table comes from; shown by the graph. Only columns of another name or table are listed."""

from __future__ import annotations

from feature_repo.contract import columns

# Column lineage where a column comes from one of another name or of another table under its own name.
LINEAGE: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {
    columns.ITEM_VECTORS: {
        "item_id": (("items", "item_id"),),
        "text": (("items", "title"), ("items", "category")),
        "vector": (("items", "title"), ("items", "category")),
        "category": (("items", "category"),),
    },
    columns.SESSIONS: {
        "session_id": (("clicks", "session_id"),),
        "items": (("clicks", "item_id"),),
        "event_ids": (("clicks", "event_id"),),
        "times": (("clicks", "event_time"),),
        "session_start": (("clicks", "event_time"),),
        "session_end": (("clicks", "event_time"),),
        "split": (("clicks", "event_time"), ("clicks", "split")),
    },
    columns.SESSION_TEXT: {
        "session_id": (("sessions", "session_id"),),
        "items": (("sessions", "items"),),
        "titles": (("items", "title"), ("sessions", "items")),
        "event_timestamp": (("sessions", "times"),),
        "long_prompt": (("items", "title"), ("sessions", "items")),
        "short_prompt": (("items", "title"), ("sessions", "items")),
    },
    columns.SESSION_INTENTS: {
        **dict.fromkeys(("session_id",), (("session_text", "session_id"),)),
        **{f"{view}_text": (("session_text", f"{view}_prompt"),) for view in ("long", "short")},
        **{f"{view}_vector": (("session_text", f"{view}_prompt"), ("item_vectors", "vector")) for view in ("long", "short")},
        **{f"{view}_items": (("item_vectors", "item_id"), ("session_text", f"{view}_prompt")) for view in ("long", "short")},
    },
    columns.SESSION_FEATURES: {
        "session_id": (("clicks", "session_id"),),
        "event_timestamp": (("clicks", "event_time"),),
        "items": (("clicks", "item_id"), ("clicks", "arrival_time")),
        "last_item": (("clicks", "item_id"),),
        "click_count": (("clicks", "event_id"),),
        "late_clicks": (("clicks", "arrival_time"), ("clicks", "event_time")),
        "duration_seconds": (("clicks", "event_time"),),
        "session_start": (("clicks", "event_time"),),
        "event_id": (("clicks", "event_id"),),
    },
    columns.ITEM_POPULARITY: {
        "item_id": (("clicks", "item_id"),),
        **dict.fromkeys(("clicks_total", "clicks_1d", "clicks_7d", "popularity_rank"), (("clicks", "event_time"), ("clicks", "item_id"))),
    },
    columns.TRAINING_SET: {
        "session_id": (("sessions", "session_id"),),
        "target": (("sessions", "items"),),
        "split": (("sessions", "split"),),
        **{name: (("session_features", name),) for name, _ in columns.SESSION_FEATURE_FIELDS},
        "intent_source": (("session_intents", "source"),),
        "long_vector": (("session_intents", "long_vector"),),
        "short_vector": (("session_intents", "short_vector"),),
    },
}

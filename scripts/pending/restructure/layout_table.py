"""The table of the move: old file -> new file. One line each; extend here for files that a branch adds."""

# Modules of the five packages. A module that stays where it is has a line "x -> =" in STAYS.
MODULES = """
feature_repo/catalogue.py feature_repo/catalogue/build.py
feature_repo/catalogue_page.py feature_repo/catalogue/page.py
feature_repo/catalogue_statistics.py feature_repo/catalogue/statistics.py
feature_repo/catalogue.html feature_repo/catalogue/catalogue.html
feature_repo/contract/columns.py feature_repo/contract/tables.py
feature_repo/contract/events.py feature_repo/contract/messages.py
dagster_project/bound.py feature_repo/contract/processes.py
feature_repo/contract/assets.py feature_repo/contract/assets/fetch.py
feature_repo/contract/assets_jars.py feature_repo/contract/assets/jars.py
feature_repo/contract/assets_java.py feature_repo/contract/assets/java.py
feature_repo/contract/assets_lock.json feature_repo/contract/assets/assets_lock.json
feature_repo/contract/dataset_folder.py feature_repo/contract/dataset/folder.py
feature_repo/contract/folder_files.py feature_repo/contract/dataset/files/tables.py
feature_repo/contract/folder_rows.py feature_repo/contract/dataset/rows/clicks.py
feature_repo/contract/folder_rules.py feature_repo/contract/dataset/rules.py
feature_repo/store.py feature_repo/registry/store.py
feature_repo/materialize.py feature_repo/registry/materialize.py
feature_repo/plan.py feature_repo/registry/plan.py
feature_repo/serve.py feature_repo/serving/app.py
feature_repo/serve_access.py feature_repo/serving/access.py
feature_repo/serve_reads.py feature_repo/serving/reads.py
feature_repo/nearest.py feature_repo/serving/nearest.py
feature_repo/vectors.py feature_repo/serving/vectors.py
feature_repo/stores/offline.py feature_repo/stores/offline/store.py
feature_repo/stores/asof.py feature_repo/stores/offline/asof.py
feature_repo/stores/asof_oracle.py feature_repo/stores/offline/asof_oracle.py
feature_repo/stores/entity_frame.py feature_repo/stores/offline/entity_frame.py
feature_repo/stores/retrieval.py feature_repo/stores/offline/retrieval.py
feature_repo/stores/tables.py feature_repo/stores/offline/sources.py
feature_repo/stores/online.py feature_repo/stores/online/store.py
feature_repo/stores/online_answer.py feature_repo/stores/online/answer.py
feature_repo/stores/arrow_columns.py feature_repo/stores/online/arrow_columns.py
feature_repo/stores/message_columns.py feature_repo/stores/online/message_columns.py
feature_repo/stores/partition_writer.py feature_repo/stores/online/partition_writer.py
feature_repo/stores/protos.py feature_repo/stores/online/protos.py
feature_repo/stores/provider.py feature_repo/stores/online/provider.py
feature_repo/stores/reader.py feature_repo/stores/online/reader.py
feature_repo/stores/codec.py feature_repo/stores/packed/codec.py
feature_repo/stores/slots.py feature_repo/stores/packed/slots.py
feature_repo/stores/keys.py feature_repo/stores/packed/keys.py
feature_repo/stores/client.py feature_repo/stores/packed/client.py
feature_repo/stores/live.py feature_repo/stores/packed/live.py
feature_repo/stores/batch.py feature_repo/stores/packed/many.py
feature_repo/stores/newer_wins.lua feature_repo/stores/packed/newer_wins.lua
dagster_project/expectations.py dagster_project/checks/expectations.py
dagster_project/table_checks.py dagster_project/checks/tables.py
dagster_project/day_checks.py dagster_project/checks/days.py
dagster_project/intent_checks.py dagster_project/checks/intents.py
dagster_project/demo.py dagster_project/demo/demo.py
dagster_project/demo_report.py dagster_project/demo/report.py
dagster_project/demo_sections.py dagster_project/demo/sections.py
dagster_project/interrupts.py dagster_project/demo/interrupts.py
dagster_project/services_guard.py dagster_project/instance/services.py
dagster_project/instance_home.py dagster_project/instance/home.py
dagster_project/ui.py dagster_project/instance/ui.py
dagster_project/notify.py dagster_project/instance/notify.py
dagster_project/progress.py dagster_project/instance/console.py
dagster_project/lake.py dagster_project/lake/read.py
dagster_project/days.py dagster_project/lake/days.py
dagster_project/live_run.py dagster_project/live/replay.py
dagster_project/redate.py dagster_project/live/redate.py
dagster_project/observe.py dagster_project/run/observe.py
dagster_project/training_run.py dagster_project/models/train.py
dagster_project/candidates.py dagster_project/models/candidates.py
dagster_project/promotion.py dagster_project/models/promotion.py
dagster_project/gates.py dagster_project/models/gates.py
dagster_project/model_card.py dagster_project/models/card.py
dagster_project/model_config.py dagster_project/models/config.py
dagster_project/plots.py dagster_project/models/plots.py
dagster_project/new_items.py dagster_project/models/new_items.py
dagster_project/steps.py dagster_project/run/steps.py
dagster_project/spark_steps.py dagster_project/run/child.py
dagster_project/child_run.py dagster_project/run/parent.py
dagster_project/step_memory.py dagster_project/run/memory.py
dagster_project/spark_progress.py dagster_project/run/progress.py
dagster_project/metadata.py dagster_project/run/metadata.py
dagster_project/lineage.py dagster_project/run/lineage.py
dagster_project/kafka_watch.py streaming/topics/watch.py
model/sequences.py model/data/sequences.py
model/splits.py model/data/splits.py
model/prepare.py model/data/prepare.py
model/data.py model/data/folder.py
model/tables.py model/data/lake.py
model/items.py model/data/catalogue.py
model/baselines/query.py model/data/decay.py
model/evaluate.py model/evaluate/judge.py
model/metrics.py model/evaluate/metrics.py
model/ranking.py model/evaluate/select.py
model/slices.py model/evaluate/slices.py
model/calibration.py model/evaluate/calibration.py
model/baselines/choose.py model/evaluate/choose.py
model/intent/cache.py model/intent/recipe.py
model/intent/endpoint.py model/intent/ask/endpoint.py
model/intent/llm.py model/intent/ask/local.py
model/intent/budget.py model/intent/ask/budget.py
model/intent/spool.py model/intent/ask/spool.py
model/intent/locate.py model/intent/ground/localiser.py
model/intent/encoder_source.py model/intent/ground/encoder.py
model/intent/student.py model/intent/ground/student.py
model/intent/live.py model/intent/ground/live.py
model/intent/report.py model/intent/ground/report.py
model/intent/chat.py model/intent/llm/chat.py
model/intent/generate.py model/intent/llm/generate.py
model/intent/kv.py model/intent/llm/kv.py
model/intent/precision.py model/intent/llm/precision.py
model/intent/weights.py model/intent/llm/weights.py
model/intent/plan.py model/intent/llm/prefixes.py
model/intent/search.py model/text/nearest.py
model/encoder.py model/text/encoder.py
model/vector_cache.py model/text/vector_cache.py
model/stand_ins.py model/text/stand_ins.py
model/hybrid.py model/mix/hybrid.py
model/mixing.py model/mix/weights.py
model/cold_mix.py model/mix/cold_mix.py
model/parts/__init__.py model/mix/__init__.py
model/parts/base.py model/mix/part.py
model/parts/counts.py model/mix/counts.py
model/parts/text.py model/mix/text.py
model/objective.py model/network/objective.py
model/losses.py model/network/losses.py
model/batches.py model/network/batches.py
model/averaging.py model/network/averaging.py
model/checkpoint.py model/network/checkpoint.py
model/network.py model/network/network.py
model/fusion.py model/network/fusion.py
model/text_space.py model/network/text_space.py
model/cooccurrence.py model/network/cooccurrence.py
model/cold_items.py model/network/cold_items.py
model/probabilities.py model/network/scorer.py
model/backbones/__init__.py model/network/backbones/__init__.py
model/backbones/base.py model/network/backbones/base.py
model/backbones/gcegnn.py model/network/backbones/gcegnn.py
model/backbones/gru4rec.py model/network/backbones/gru4rec.py
model/backbones/s2dhcn.py model/network/backbones/s2dhcn.py
model/backbones/sasrec.py model/network/backbones/sasrec.py
model/backbones/sasrec_row.py model/network/backbones/sasrec_row.py
model/backbones/srgnn.py model/network/backbones/srgnn.py
model/backbones/stamp.py model/network/backbones/stamp.py
model/baselines/__init__.py model/rankers/__init__.py
model/baselines/ease.py model/rankers/ease.py
model/baselines/item_knn.py model/rankers/item_knn.py
model/baselines/last_item.py model/rankers/last_item.py
model/baselines/markov.py model/rankers/markov.py
model/baselines/popularity.py model/rankers/popularity.py
model/baselines/session_knn.py model/rankers/session_knn.py
model/baselines/title_knn.py model/rankers/title_knn.py
model/baselines/registry.py model/study/baselines.py
model/train.py model/recommender/train.py
model/progress.py model/recommender/progress.py
model/scorer.py model/recommender/recommender.py
model/reasons.py model/recommender/reasons.py
model/artifact.py model/recommender/artifact.py
model/new_items.py model/recommender/new_items.py
model/recommend.py model/recommender/answer.py
model/benchmark.py model/study/benchmark.py
model/study.py model/study/study.py
model/study_report.py model/study/report.py
model/study_answers.py model/study/answers.py
model/study_intents.py model/study/controls.py
model/case_intents.py model/study/case_intents.py
model/report.py model/study/quality.py
model/plots.py model/study/plots.py
spark_jobs/spark_session.py spark_jobs/session.py
spark_jobs/ingest.py spark_jobs/ingest/job.py
spark_jobs/ingest_files.py spark_jobs/ingest/files.py
spark_jobs/ingest_kafka.py spark_jobs/ingest/kafka.py
spark_jobs/ingest_held_out.py spark_jobs/ingest/held_out.py
spark_jobs/ingest_score_log.py spark_jobs/ingest/score_log.py
spark_jobs/kafka_options.py spark_jobs/ingest/kafka_options.py
spark_jobs/intents.py spark_jobs/intents/job.py
spark_jobs/intent_calls.py spark_jobs/intents/calls.py
spark_jobs/intent_cache.py spark_jobs/intents/cache.py
spark_jobs/intent_rows.py spark_jobs/intents/ground.py
spark_jobs/intent_live.py spark_jobs/intents/publish.py
spark_jobs/intent_explain.py spark_jobs/intents/explain.py
spark_jobs/intents_report.py spark_jobs/intents/report.py
spark_jobs/item_vectors.py spark_jobs/items/vectors.py
spark_jobs/item_popularity.py spark_jobs/items/popularity.py
spark_jobs/delta_tables.py spark_jobs/lake/write.py
spark_jobs/delta_read.py spark_jobs/lake/read.py
spark_jobs/delta_log.py spark_jobs/lake/log.py
spark_jobs/delta_errors.py spark_jobs/lake/errors.py
spark_jobs/incremental.py spark_jobs/lake/changes.py
spark_jobs/replay.py spark_jobs/live/replay.py
spark_jobs/parity.py spark_jobs/live/parity.py
spark_jobs/sessionise.py spark_jobs/sessions/cut.py
spark_jobs/session_features.py spark_jobs/sessions/features.py
spark_jobs/session_text.py spark_jobs/sessions/text.py
spark_jobs/training_set.py spark_jobs/sessions/training_set.py
streaming/run.py streaming/consumer/app.py
streaming/consumer.py streaming/consumer/consumer.py
streaming/pipeline.py streaming/consumer/pipeline.py
streaming/partitions.py streaming/consumer/partitions.py
streaming/state.py streaming/consumer/state.py
streaming/recovery.py streaming/consumer/recovery.py
streaming/commits.py streaming/consumer/commits.py
streaming/housekeeping.py streaming/consumer/housekeeping.py
streaming/counting.py streaming/consumer/counting.py
streaming/sinks.py streaming/consumer/sinks.py
streaming/score_log.py streaming/consumer/score_log.py
streaming/kafka_source.py streaming/consumer/source.py
streaming/audit.py streaming/consumer/audit.py
streaming/serve.py streaming/http/server.py
streaming/api.py streaming/http/routes.py
streaming/api_wire.py streaming/http/wire.py
streaming/api_answers.py streaming/http/board.py
streaming/api_batch.py streaming/http/batcher.py
streaming/api_clicks.py streaming/http/clicks.py
streaming/api_engine.py streaming/http/engine.py
streaming/api_items.py streaming/http/items.py
streaming/api_metrics.py streaming/http/metrics.py
streaming/api_nearest.py streaming/http/nearest.py
streaming/api_openapi.py streaming/http/schema.py
streaming/api_page.py streaming/http/page.py
streaming/api_reader.py streaming/http/reader.py
streaming/api_rows.py streaming/http/features.py
streaming/page.html streaming/http/page.html
streaming/near_line.py streaming/intents/worker.py
streaming/intent_requests.py streaming/intents/requests.py
streaming/broker.py streaming/services/services.py
streaming/embedded_kafka.py streaming/services/kafka.py
streaming/embedded_valkey.py streaming/services/valkey.py
streaming/processes.py streaming/services/processes.py
streaming/answers.py streaming/serving/answers.py
streaming/api_model.py streaming/serving/loaded_model.py
streaming/models.py streaming/serving/models.py
streaming/topics.py streaming/topics/ensure.py
streaming/lag.py streaming/topics/lag.py
streaming/dlq.py streaming/topics/dead_letters.py
feature_repo/contract/folder_blocks.py feature_repo/contract/dataset/files/blocks.py
feature_repo/contract/folder_checks.py feature_repo/contract/dataset/rows/checks.py
feature_repo/contract/folder_columns.py feature_repo/contract/dataset/rows/columns.py
feature_repo/contract/folder_items.py feature_repo/contract/dataset/rows/items.py
feature_repo/contract/folder_quotes.py feature_repo/contract/dataset/files/quotes.py
feature_repo/contract/folder_text.py feature_repo/contract/dataset/files/delimited.py
feature_repo/contract/folder_times.py feature_repo/contract/dataset/rows/times.py
feature_repo/contract/folder_header.py feature_repo/contract/dataset/files/header.py
feature_repo/contract/folder_lines.py feature_repo/contract/dataset/files/lines.py
feature_repo/contract/folder_hashes.py feature_repo/contract/dataset/hashes.py
feature_repo/contract/folder_look.py feature_repo/contract/dataset/look.py
feature_repo/contract/folder_repeats.py feature_repo/contract/dataset/repeats.py
feature_repo/contract/folder_sessions.py feature_repo/contract/dataset/sessions.py
feature_repo/contract/entities.py feature_repo/contract/spellings/entities.py
feature_repo/contract/id_spellings.py feature_repo/contract/spellings/ids.py
feature_repo/contract/public_names.py feature_repo/contract/spellings/columns.py
feature_repo/stores/refusals.py feature_repo/stores/packed/refusals.py
model/prepare_times.py model/data/prepare_times.py
model/loaded_model.py model/recommender/loaded_model.py
model/intent/connection.py model/intent/ask/connection.py
model/intent/pace.py model/intent/ask/pace.py
model/intent/structured.py model/intent/ask/structured.py
model/mix_worth.py model/mix/worth.py
model/network_start.py model/network/start.py
model/intent/asker.py model/intent/ask/asker.py
model/intent/completion.py model/intent/ask/completion.py
model/intent/remedies.py model/intent/ask/remedies.py
model/intent/known_titles.py model/intent/ground/known_titles.py
model/intent/phrases.py model/intent/answer/phrases.py
model/intent/reading.py model/intent/answer/reading.py
model/intent/reasoning.py model/intent/answer/reasoning.py
model/baselines/tuning.py model/rankers/tuning.py
model/hiding.py model/mix/hiding.py
model/parts/pairs.py model/mix/pairs.py
model/parts/popular.py model/mix/popular.py
model/parts/repeats.py model/mix/repeats.py
model/pool.py model/mix/pool.py
spark_jobs/intent_prune.py spark_jobs/intents/prune.py
spark_jobs/delta_rows.py spark_jobs/lake/rows.py
spark_jobs/lake_marker.py spark_jobs/lake/marker.py
spark_jobs/quarantine.py spark_jobs/ingest/quarantine.py
streaming/adoption.py streaming/consumer/moves/adoption.py
streaming/fence.py streaming/topics/fence.py
streaming/layout.py streaming/topics/layout.py
streaming/snapshots.py streaming/consumer/moves/snapshots.py
streaming/repartition.py streaming/consumer/moves/repartition.py
streaming/api_protocol.py streaming/http/protocol.py
streaming/foreign.py streaming/topics/foreign.py
streaming/topic_watch.py streaming/topics/changes.py
"""

STAYS = """
feature_repo/contract/session_cut.py feature_repo/contract/refusals.py feature_repo/contract/key_partitions.py
feature_repo/contract/addresses.py feature_repo/contract/kinds.py feature_repo/contract/texts.py
model/messages.py dagster_project/code.py
feature_repo/__init__.py feature_repo/__main__.py feature_repo/feast_import.py feature_repo/definitions.py
feature_repo/contract/__init__.py feature_repo/contract/settings.py feature_repo/contract/endpoints.py
feature_repo/contract/locks.py feature_repo/contract/session.py feature_repo/contract/times.py
feature_repo/stores/__init__.py
spark_jobs/__init__.py spark_jobs/__main__.py spark_jobs/job.py
streaming/__init__.py streaming/__main__.py streaming/clients.py streaming/metrics.py streaming/commands.py streaming/errors.py
model/__init__.py model/__main__.py model/config.py model/device.py
model/intent/__init__.py model/intent/types.py model/intent/prompts.py model/intent/source.py
dagster_project/__init__.py dagster_project/__main__.py dagster_project/definitions.py dagster_project/resources.py
dagster_project/defs/__init__.py dagster_project/defs/automation.py dagster_project/defs/batch.py
dagster_project/defs/catalogue.py dagster_project/defs/jobs.py dagster_project/defs/live.py
dagster_project/defs/new_items.py dagster_project/defs/partitions.py dagster_project/defs/training.py
"""

# Packages that have moved as a whole (for names taken from the package itself, and for folder paths in text).
PACKAGES = {
    "model.parts": "model.mix",
    "model.backbones": "model.network.backbones",
    "model.baselines": "model.rankers",
}

# New packages with the docstring of their `__init__`.
INITS = {
    "feature_repo/catalogue": "The static catalogue: built from the registry and the tables, written as one page.",
    "feature_repo/registry": "What is defined and served: the Feast store, its registry, the plan of a change, materialisation.",
    "feature_repo/serving": "The feature server: online reads, tokens, nearest rows.",
    "feature_repo/contract/assets": "Weights, ML-100K and jars, pinned by hash. `python -m feature_repo.contract.assets` fetches them.",
    "feature_repo/contract/dataset": "A shop's own data as a whole: the folder and its rules, from repeats to the user's split.",
    "feature_repo/contract/dataset/files": "Files of a dataset folder as blocks of rows with line numbers. Knows no column's meaning.",
    "feature_repo/contract/dataset/rows": "The rules by which rows of clicks and of items are taken or refused. Knows nothing of files.",
    "feature_repo/stores/offline": "The offline store: point-in-time joins on Delta tables.",
    "feature_repo/stores/online": "The online store as Feast calls it.",
    "feature_repo/stores/packed": "The packed form of online rows: codec, keys and client. Knows nothing of Feast.",
    "dagster_project/checks": "Checks of assets: expectations, tables, days, intents.",
    "dagster_project/demo": "`python -m dagster_project demo`: the whole path and its report.",
    "dagster_project/instance": "Dagster's home, its services, its user interface and its messages.",
    "dagster_project/lake": "Reading Delta tables without a JVM.",
    "dagster_project/live": "The live half of the graph: replay of clicks, at new dates.",
    "dagster_project/models": "Training, candidates, gates and promotion of models.",
    "dagster_project/run": "Steps that run in one JVM: the parent's side, the child's side, what they remember, what is observed.",
    "model/data": "Sequences, splits and catalogues, and where they are read from.",
    "model/evaluate": "The judge: ranks, metrics, slices, calibration, choice on validation data.",
    "model/text": "Texts as vectors, and what is near to what.",
    "model/network": "The network: backbones, fusion, losses, batches, averaging, checkpoints, its scores.",
    "model/recommender": "The whole model: training, the folder it is kept in, scoring with reasons.",
    "model/study": "Experiments: benchmark, baselines, study, controls and their reports.",
    "model/intent/ask": "Asking a language model: local or over an endpoint, under a budget, each answer kept.",
    "model/intent/ground": "From an answer to items: the localiser, the encoder, the student, the live form.",
    "model/intent/llm": "The local language model: chat form, weights, key-value cache, generation.",
    "spark_jobs/ingest": "Clicks and items into the lake: from files, Kafka, the score log.",
    "spark_jobs/intents": "Intents of sessions in batch: asked, cached, grounded, published, reported.",
    "spark_jobs/items": "What is computed for items: vectors and popularity.",
    "spark_jobs/lake": "Delta tables: read, merged, changed rows, the log, errors.",
    "spark_jobs/live": "Batch jobs about the live half: replay of clicks, parity of features.",
    "spark_jobs/sessions": "Sessions: cut, features, prompts, training cases.",
    "streaming/consumer": "The consumer: from a click to a recommendation, exactly once.",
    "streaming/http": "The HTTP side: recommendations, clicks, items, intents.",
    "streaming/intents": "Intents asked near line: requests and the worker that answers them.",
    "feature_repo/contract/spellings": "Spellings of others: HTML entities, ids, names of columns in public data.",
    "model/intent/answer": "Reading what a language model wrote: phrases, reasoning, the name in it.",
    "streaming/consumer/moves": "When the topic of clicks gets more partitions: states and answers move to where the keys now are.",
    "streaming/services": "The embedded broker and valkey.",
    "streaming/serving": "Loaded models and what they answer; used by consumer and HTTP side alike.",
    "streaming/topics": "Topics: made, watched, their lag, dead letters.",
}

# Files written anew: thin entry points that keep their public names.
ALIASES = {
    "feature_repo/contract/assets/__main__.py": '''"""`python -m feature_repo.contract.assets DIR`: fetches everything."""

from __future__ import annotations

import os
import sys

from feature_repo.contract.assets.fetch import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], os.environ))
''',
    "model/prepare.py": '''"""`python -m model.prepare SRC DST`: the public name of the command in `model.data.prepare`."""

from __future__ import annotations

from model.data.prepare import main

if __name__ == "__main__":
    raise SystemExit(main())
''',
}

# Tests whose new home does not follow from a module's (all others do: test_NAME.py goes where NAME went).
TESTS = """
tests/unit/dagster_project/test_automation.py tests/unit/dagster_project/defs/test_automation.py
tests/unit/dagster_project/test_lost_runs.py tests/unit/dagster_project/defs/test_lost_runs.py
tests/unit/dagster_project/test_ui_command.py tests/unit/dagster_project/instance/test_ui_command.py
tests/unit/feature_repo/test_assets.py tests/unit/feature_repo/contract/assets/test_fetch.py
tests/unit/feature_repo/test_packed_batch.py tests/unit/feature_repo/stores/packed/test_many.py
tests/unit/feature_repo/test_packed_codec.py tests/unit/feature_repo/stores/packed/test_codec.py
tests/unit/feature_repo/test_packed_messages.py tests/unit/feature_repo/stores/online/test_messages.py
tests/unit/model/test_backbones.py tests/unit/model/network/backbones/test_backbones.py
tests/unit/model/test_baselines.py tests/unit/model/rankers/test_rankers.py
tests/unit/model/test_sasrec_row.py tests/unit/model/network/backbones/test_sasrec_row.py
tests/unit/model/test_session_knn.py tests/unit/model/rankers/test_session_knn.py
tests/unit/model/test_scorer_speed.py tests/unit/model/recommender/test_recommender_speed.py
tests/unit/streaming/test_api_app.py tests/unit/streaming/http/test_routes.py
tests/unit/streaming/test_api_guards.py tests/unit/streaming/http/test_guards.py
tests/integration/dagster_project/test_demo.py tests/integration/dagster_project/demo/test_demo.py
tests/integration/dagster_project/test_ui.py tests/integration/dagster_project/instance/test_ui.py
tests/integration/dagster_project/test_postgres.py tests/integration/dagster_project/instance/test_postgres.py
tests/integration/dagster_project/test_spark_cluster.py tests/integration/dagster_project/run/test_spark_cluster.py
tests/integration/dagster_project/test_full_disk.py tests/integration/dagster_project/run/test_full_disk.py
tests/integration/dagster_project/test_bad_input.py tests/integration/dagster_project/run/test_bad_input.py
tests/integration/dagster_project/test_without_items.py tests/integration/dagster_project/run/test_without_items.py
tests/integration/dagster_project/test_days.py tests/integration/dagster_project/lake/test_days.py
tests/integration/feature_repo/test_asof_join.py tests/integration/feature_repo/stores/offline/test_asof.py
tests/integration/feature_repo/test_catalogue_page.py tests/integration/feature_repo/catalogue/test_page.py
tests/integration/feature_repo/test_feast_contract.py tests/integration/feature_repo/stores/test_feast_contract.py
tests/integration/feature_repo/test_killed_materialisation.py tests/integration/feature_repo/registry/test_killed_materialisation.py
tests/integration/feature_repo/test_materialize_and_serve.py tests/integration/feature_repo/serving/test_materialize_and_serve.py
tests/integration/feature_repo/test_offline_store.py tests/integration/feature_repo/stores/offline/test_store.py
tests/integration/feature_repo/test_online_store.py tests/integration/feature_repo/stores/online/test_store.py
tests/integration/model/test_endpoint_serve.py tests/integration/model/intent/ask/test_endpoint_serve.py
tests/integration/spark_jobs/test_full_disk.py tests/integration/spark_jobs/lake/test_full_disk.py
tests/integration/spark_jobs/test_ingest_dataset.py tests/integration/spark_jobs/ingest/test_dataset.py
tests/integration/spark_jobs/test_replay_parity.py tests/integration/spark_jobs/live/test_replay_parity.py
tests/integration/streaming/test_api_serve.py tests/integration/streaming/http/test_server.py
tests/integration/streaming/test_page.py tests/integration/streaming/http/test_page.py
tests/integration/streaming/test_services.py tests/integration/streaming/services/test_services.py
"""

# Edits that no rule covers: (old path, old text, new text). The old text must be there, as soon as the file is.
# Applied after the references were rewritten, before formatting.
PATCHES = [
    (
        "dagster_project/code.py",
        """        names.update(f"{package}.{file.stem}" for file in ROOT.joinpath(*package.split(".")).glob("*.py"))""",
        """        files = (file.relative_to(ROOT) for file in ROOT.joinpath(*package.split(".")).rglob("*.py"))
        names.update(".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files)""",
    ),
    ("model/config.py", 'Path(__file__).parent / "backbones"', 'Path(__file__).parent / "network" / "backbones"'),
    (
        "feature_repo/contract/assets.py",
        """

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], os.environ))
""",
        "\n",
    ),
    (
        "model/prepare.py",
        """

if __name__ == "__main__":
    raise SystemExit(main())
""",
        "\n",
    ),
    ("feature_repo/contract/assets.py", "import os\nimport shutil\n", "import shutil\n"),
    # One-line pragmas that a wrapped statement would lose.
    (
        "streaming/embedded_valkey.py",
        "lambda port=port: answers(port), READY_SECONDS, record.alive):  # type: ignore[misc]",
        "partial(answers, port), READY_SECONDS, record.alive):",
    ),
    ("streaming/embedded_valkey.py", "import socket\n", "import socket\nfrom functools import partial\n"),
    (
        "tests/integration/dagster_project/test_ui.py",
        "}' % asset  # noqa: UP031 - braces",
        """}'.replace("%s", asset)""",
    ),
    (
        "feature_repo/contract/events.py",
        """    >>> raw = b'{"event_id":"e","session_id":"s","item_id":"i","event_time":"2024-01-01T00:00:00Z","schema_version":1}'\n""",
        """    >>> raw = (
    ...     b'{"event_id":"e","session_id":"s","item_id":"i",'
    ...     b'"event_time":"2024-01-01T00:00:00Z","schema_version":1}'
    ... )\n""",
    ),
    (
        "spark_jobs/delta_errors.py",
        r'''    >>> trace = "Traceback (most recent call last):\n  File \"w.py\", line 1, in f\n    g()\nValueError: item 7 has no title\n\n\tat org.apache.spark.X"
''',
        r'''    >>> trace = (
    ...     "Traceback (most recent call last):\n  File \"w.py\", line 1, in f\n    g()\n"
    ...     "ValueError: item 7 has no title\n\n\tat org.apache.spark.X"
    ... )
''',
    ),
    (
        "tests/integration/streaming/test_key_partitions.py",
        "test_clicks_from_before_the_growth_are_answered_where_they_stand_and_late_ones_of_the_old_number_are_refused",
        "test_clicks_before_the_growth_are_answered_where_they_stand_and_late_ones_are_refused",
    ),
    ("pyproject.toml", "line-length = 160", "line-length = 110"),
    ("pyproject.toml", "[tool.ruff.lint]\n", "[tool.ruff.format]\ndocstring-code-format = true\n\n[tool.ruff.lint]\n"),
    (
        "Makefile",
        "lint: $(STAMP)  ## ruff, mypy --strict, import-linter\n\t@$(BIN)/ruff check .\n",
        "lint: $(STAMP)  ## ruff (rules and format), mypy --strict, import-linter\n\t@$(BIN)/ruff check .\n\t@$(BIN)/ruff format --check .\n",
    ),
]

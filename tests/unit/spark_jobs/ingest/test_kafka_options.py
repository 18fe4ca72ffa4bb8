from feature_repo.contract.settings import load_settings
from spark_jobs.ingest.kafka_options import python_options, spark_options

SECURE = {
    "kafka.bootstrap_servers": "a:1,b:2",
    "kafka.security_protocol": "SASL_PLAINTEXT",
    "kafka.sasl_username": "me",
    "kafka.sasl_password": 'pa"ss',
}


def _settings(tmp_path):
    return load_settings(None, {}, {"home": str(tmp_path), **SECURE})


def test_the_password_reaches_both_clients_and_is_quoted_for_java(tmp_path):
    settings = _settings(tmp_path)
    assert python_options(settings)["sasl_plain_password"] == 'pa"ss'
    assert python_options(settings)["bootstrap_servers"] == ["a:1", "b:2"]
    options = spark_options(settings)
    assert 'password="pa\\"ss"' in options["kafka.sasl.jaas.config"]
    assert options["kafka.isolation.level"] == "read_committed"


def test_secrets_are_not_shown_by_the_settings(tmp_path):
    assert 'pa"ss' not in repr(_settings(tmp_path))

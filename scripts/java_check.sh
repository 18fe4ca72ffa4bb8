#!/usr/bin/env bash
# One clear line when Java is missing or of another version than 17 (Spark 4.1 and Kafka 4.3 run on 17; 21 works too).
set -euo pipefail
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
command -v "$java" >/dev/null 2>&1 || { echo "java is missing ('$java' not found); install Java 17 (Debian: openjdk-17-jre-headless) or set JAVA_HOME" >&2; exit 1; }
version=$("$java" -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p' | head -1)
case "$version" in
  17 | 21) ;;
  *) echo "java is version '${version:-unknown}' ($java); IntentStore needs Java 17: install it or set JAVA_HOME to it" >&2; exit 1 ;;
esac

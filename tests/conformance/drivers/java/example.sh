#!/bin/sh
# Runs Example.java in this folder, as the README of the Java client says.
set -eu
client=$(dirname "$0")/../../../../clients/java
exec java -cp "$client/target/*:$client/target/dependency/*" Example.java city

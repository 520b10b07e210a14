"""The sim worker: pulls work, runs one supervised process per session, writes its log."""

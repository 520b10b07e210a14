"""Studies: which of these is better, and how sure is that? The file a study is written in, and the calls."""

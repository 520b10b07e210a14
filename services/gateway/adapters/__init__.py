"""What calls us: browsers, over HTTP/1.1."""

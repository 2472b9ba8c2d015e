"""What a record says without the code that wrote it: summaries, sentences, payloads in words."""

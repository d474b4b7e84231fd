"""What was run: specs, the store, and the pipeline that joins them."""

"""Numbers in batch: inputs and networks in, a row for every block out."""

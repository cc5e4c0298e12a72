"""Many pictures through some networks: measured in the background, as tables and charts."""

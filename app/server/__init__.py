"""The app as a server: who may ask, what is told to browsers, and what is counted."""

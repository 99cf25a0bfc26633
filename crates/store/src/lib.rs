//! Keeps the messages of a paddington service in a file of SQLite.

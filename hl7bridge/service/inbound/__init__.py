"""The listener role: sockets, frames, answers, drop folders, and the thread that commits."""

"""Commands for those who run the bridge: messages, holds, tasks, people, destinations."""

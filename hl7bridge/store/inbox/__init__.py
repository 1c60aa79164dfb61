"""What comes in: messages accepted with their acknowledgments, those of very many records, files of drop folders."""

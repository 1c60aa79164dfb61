"""The delivery role: for each destination what is due is claimed, delivered and settled; and what runs beside that."""

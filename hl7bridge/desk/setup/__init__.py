"""What whoever sets a site up asks: is it ready to run, are its destinations well, what has their owner to register."""

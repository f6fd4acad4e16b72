"""What the scripts share: the machine, those that are compared, the measurements, and the document."""

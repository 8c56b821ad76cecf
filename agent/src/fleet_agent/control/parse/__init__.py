"""What tools print -> session events. Pure."""

"""What tests/outside/differential.py is made of: generated messages, and the programs that read them."""

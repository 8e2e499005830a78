"""What observers count of ended conversations."""

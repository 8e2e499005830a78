"""What bytes look like: pure knowledge that cites its RFC, without state and without any stage."""

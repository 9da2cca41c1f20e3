"""What makes an ideal robot a real one."""

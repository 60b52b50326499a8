"""Real applications, as their users start them: bare, and launched with us, side by side."""

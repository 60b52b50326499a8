"""What each application is installed from (`NAME.in`), and what is installed then (`NAME.txt`)."""

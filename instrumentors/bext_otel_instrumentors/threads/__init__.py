"""Work in threads and processes of the application's."""

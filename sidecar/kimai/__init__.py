"""All that is known of Kimai: its console, its files, and how to reach both."""

"""What a run leaves behind: its notes while it goes on, its record, its folder."""

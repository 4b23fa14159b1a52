"""What every HTTP request and answer goes through, for people and programs alike."""

"""What a user can run, each wired from the layers below: export, stream, replay, sync, checks."""

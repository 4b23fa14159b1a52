"""Starting and stopping: workers, the try-out mode's own servers, the operator's commands."""

"""What is done with the model behind a report: chat, merge, export, serve, publish."""

"""The app of the project: views and a consumer."""

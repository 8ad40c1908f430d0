"""What happened while one request was answered: recorded, told and drawn; knows no Django."""

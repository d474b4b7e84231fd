"""What is shown: tables in, figures out."""

"""What the chapters of the book show: tables computed from studies, or read from frozen results."""

"""Items with their vectors, codes and classes in one place."""

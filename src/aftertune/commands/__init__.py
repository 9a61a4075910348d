"""The ways in: each command of aftertune is one function here."""

"""The REST frontend: its HTTP protocol with the fast lane, its application, its metrics."""

"""Runs as others read them: tables for papers and data frames, and the files of dashboards."""

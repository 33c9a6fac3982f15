"""The page that tells a person what an evaluation found. It is written by `page.write_report`."""

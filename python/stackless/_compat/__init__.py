"""What `python -m stackless compat` knows of old Stackless programs: names, reading, report."""

"""`milepost up`: broker and services as child processes of one, for laptops and tests. Loopback only."""

"""The command line. Standard output holds the answer alone; everything else goes to standard error."""

"""What commands over many inputs share: finding them, working them off, keeping what is done."""

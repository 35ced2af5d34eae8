"""What this machine is: devices, precision, processes, random numbers, the screen."""

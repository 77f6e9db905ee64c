"""What the tasks on tables share: reading, schema, preparation, network, calibration."""

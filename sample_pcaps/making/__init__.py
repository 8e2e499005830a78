"""What the sample captures are made of; development only, never imported by the package."""

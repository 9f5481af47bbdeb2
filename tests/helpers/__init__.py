"""What several test files share: small real pictures, the program as people run it, Ray, made-up profiles."""

"""What runs a trained model on a device: the bundle (manifest and files) and the engines behind one protocol."""

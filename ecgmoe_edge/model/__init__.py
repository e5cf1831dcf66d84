"""The full-precision ECG mixture of experts (teacher) and the compact student that is distilled from it."""

"""Tables of samples as text: encoding, cells, labels, layout, time; `formats.csv_record` puts them together."""

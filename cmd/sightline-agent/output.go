package main

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/sightline-edge/sightline/internal/whole"
)

// output is a file that a person named for what a command gives. It is there whole or
// not at all, unless what has the name isn't a plain file (a pipe, a device, a link):
// that is written as it is.
type output struct {
	io.Writer
	unfinished *whole.File // nil for what isn't a plain file
	close      func() error
}

// openOutput begins the file, or gives stdout for "".
func openOutput(path string, stdout io.Writer) (*output, error) {
	if path == "" {
		return &output{Writer: stdout, close: func() error { return nil }}, nil
	}
	mode := fs.FileMode(0o644)
	st, err := os.Lstat(path)
	switch {
	case err == nil && st.Mode().IsRegular():
		mode = st.Mode().Perm()
	case err == nil:
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return nil, err
		}
		return &output{Writer: f, close: f.Close}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	f, err := whole.New(path, mode)
	if err != nil {
		return nil, err
	}
	return &output{Writer: f, unfinished: f, close: f.Close}, nil
}

// keep gives the file its name.
func (o *output) keep() error {
	if o.unfinished != nil {
		return o.unfinished.Commit()
	}
	return o.close()
}

// drop ends the file, which is gone unless it was kept. It comes also after keep.
func (o *output) drop() { _ = o.close() } // what matters keep has told

package main

import (
	"context"
	"io/fs"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
)

// watched is a folder whose reading is shown, and ends with a context.
type watched struct {
	ctx  context.Context // of the one command that reads it
	fsys fs.FS
	bar  *cli.Progress
}

// Open opens a file of the folder; it makes watched an fs.FS.
func (w watched) Open(name string) (fs.File, error) {
	f, err := w.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	if dir, ok := f.(fs.ReadDirFile); ok {
		if st, err := f.Stat(); err == nil && st.IsDir() {
			return dir, nil
		}
	}
	return watchedFile{f, w}, nil
}

type watchedFile struct {
	fs.File
	w watched
}

func (f watchedFile) Read(p []byte) (int, error) {
	if err := f.w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := f.File.Read(p)
	f.w.bar.Add(n)
	return n, err
}

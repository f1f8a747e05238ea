package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/term"
)

// progress draws on a terminal how far long work is; elsewhere it is silent.
type progress struct {
	w           io.Writer // nil without a terminal
	what        string
	n, total    int64
	began, last time.Time
}

// patience is how long a person waits before they want to know.
const patience = time.Second

func newProgress(w io.Writer, what string, total int64) *progress {
	p := &progress{what: what, total: total, began: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = w
	}
	return p
}

func (p *progress) add(n int) {
	p.n += int64(n)
	now := time.Now()
	if p.w == nil || p.total <= 0 || now.Sub(p.began) < patience || now.Sub(p.last) < patience/10 {
		return
	}
	p.last = now
	fmt.Fprintf(p.w, "\r%s %d %%\x1b[K", p.what, min(p.n*100/p.total, 100))
}

// done wipes the line away.
func (p *progress) done() {
	if !p.last.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// watched is a folder whose reading is shown, and ends with a context.
type watched struct {
	ctx  context.Context // of the one command that reads it
	fsys fs.FS
	bar  *progress
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
	f.w.bar.add(n)
	return n, err
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/sightline-edge/sightline/updater/bundle"
)

// recorder records golden vectors for who asks a running agent.
type recorder struct {
	made    *assembly
	threads int

	busy sync.Mutex // held while one records: the stations' models run beside it
}

// record runs an archive on its own pictures and gives the golden file.
func (r *recorder) record(ctx context.Context, archive io.Reader, pictures []string) (golden []byte, err error) {
	if !r.busy.TryLock() {
		return nil, errors.New("another bundle is being recorded: try again later")
	}
	defer r.busy.Unlock()
	for _, name := range pictures {
		if err := bundle.CheckPath(name); err != nil {
			return nil, fmt.Errorf("record golden pictures: %w", err)
		}
	}
	top, remove, err := scratch()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	dir := top + "/bundle"
	if _, err := bundle.Unpack(archive, dir, bundle.Limits{}); err != nil {
		return nil, err
	}
	g, err := r.made.record(ctx, dir, os.DirFS(dir), pictures, recordOptions{threads: r.threads})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := g.Write(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

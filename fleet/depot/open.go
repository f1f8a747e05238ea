package depot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// maxOpen is how many files are kept open for devices that read them piece by
// piece.
const maxOpen = 32

// handles are open files that never change, the last used ones. It is safe for
// concurrent use.
type handles struct {
	mu   sync.Mutex
	open map[string]*handle
	used []*handle // the last used one at the end
}

type handle struct {
	path string
	file *os.File
	size int64
	refs int
	gone bool // out of the list: the last reader closes it
}

// take opens a file or finds it open. Whoever has it gives it back.
func (h *handles) take(path string) (*handle, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f, ok := h.open[path]; ok {
		f.refs++
		h.used = append(slices.DeleteFunc(h.used, func(o *handle) bool { return o == f }), f)
		return f, nil
	}
	f, err := openHandle(path)
	if err != nil {
		return nil, err
	}
	if h.open == nil {
		h.open = map[string]*handle{}
	}
	f.refs++
	h.open[path], h.used = f, append(h.used, f)
	for len(h.used) > maxOpen {
		h.dropLocked(h.used[0])
	}
	return f, nil
}

func openHandle(path string) (*handle, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, explain(err)
	}
	st, err := file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", filepath.Base(path))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &handle{path: path, file: file, size: st.Size()}, nil
}

func (h *handles) dropLocked(f *handle) {
	delete(h.open, f.path)
	h.used = slices.DeleteFunc(h.used, func(o *handle) bool { return o == f })
	f.gone = true
	if f.refs == 0 {
		_ = f.file.Close() // it was only read
	}
}

func (h *handles) give(f *handle) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.refs--; f.refs == 0 && f.gone {
		_ = f.file.Close()
	}
}

// forget closes files that others are in the place of now.
func (h *handles) forget(paths ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, path := range paths {
		if f, ok := h.open[path]; ok {
			h.dropLocked(f)
		}
	}
}

// close closes what nobody reads, and the rest once it is given back.
func (h *handles) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.used) > 0 {
		h.dropLocked(h.used[0])
	}
}

// piece reads the piece with that index, which may be the short last one, into
// buf.
func (f *handle) piece(index int64, buf []byte) ([]byte, error) {
	at := index * PieceSize
	b := buf[:min(PieceSize, f.size-at)]
	if _, err := f.file.ReadAt(b, at); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read piece %d of %s: %w", index, filepath.Base(f.path), err)
	}
	return b, nil
}

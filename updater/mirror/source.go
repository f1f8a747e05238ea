package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// httpTime bounds one file, headers to end: the largest has 5 MB.
const httpTime = 2 * time.Minute

type httpSource struct {
	base   string
	client *http.Client
}

// HTTP is a source at a base address. The answers 404 and 403 mean ErrMissing:
// object stores say 403 of what isn't there. A nil client is a plain one.
func HTTP(base string, client *http.Client) Source {
	if client == nil {
		client = http.DefaultClient
	}
	return &httpSource{strings.TrimSuffix(base, "/") + "/", client}
}

// Metadata gets base/name.
func (s *httpSource) Metadata(ctx context.Context, name string, max int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, httpTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+name, nil)
	if err != nil {
		return nil, err
	}
	answer, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return io.ReadAll(io.LimitReader(answer.Body, max+1))
	case http.StatusNotFound, http.StatusForbidden:
		return nil, fmt.Errorf("get %s: %s: %w", s.base+name, answer.Status, ErrMissing)
	}
	return nil, fmt.Errorf("get %s: %s", s.base+name, answer.Status)
}

type folder string

// Folder is a source in a folder, such as the metadata folder of a USB stick.
func Folder(dir string) Source { return folder(dir) }

// Metadata reads dir/name.
func (dir folder) Metadata(_ context.Context, name string, max int64) ([]byte, error) {
	if name != filepath.Base(name) || name == "." || name == ".." {
		return nil, fmt.Errorf("read %q: it is no file name", name)
	}
	f, err := os.OpenFile(filepath.Join(string(dir), name), os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would wait for a writer
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s in %s: %w", name, string(dir), ErrMissing)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s in %s: it is no file", name, string(dir))
	}
	return io.ReadAll(io.LimitReader(f, max+1))
}

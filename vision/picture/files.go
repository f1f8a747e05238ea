package picture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Files lists the pictures of folders, sorted, and files as they are given. Links
// to pictures count, as data sets are made of them. A folder without pictures is an error.
func Files(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		st, err := os.Stat(arg)
		if err != nil {
			return nil, fmt.Errorf("images: %w", err)
		}
		if !st.IsDir() {
			files = append(files, arg)
			continue
		}
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, fmt.Errorf("images: %w", err)
		}
		before := len(files)
		for _, e := range entries {
			path := filepath.Join(arg, e.Name())
			if e.Type()&^os.ModeSymlink != 0 {
				continue // a pipe would wait for ever
			}
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && known(path) {
				files = append(files, path)
			}
		}
		if len(files) == before {
			return nil, fmt.Errorf("images: %s holds no pictures (JPEG, PNG, BMP or WebP)", arg)
		}
		slices.Sort(files[before:])
	}
	return files, nil
}

// ReadFile reads a picture's file. What is no regular file, as a pipe that nobody
// writes to, or larger than MaxBytes is an error.
func ReadFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case info.Size() > MaxBytes:
		return nil, fmt.Errorf("%d bytes, at most %d are read", info.Size(), MaxBytes)
	}
	return os.ReadFile(path)
}

// known looks at a file's first bytes.
func known(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := io.ReadFull(f, head) // a short file is a short head
	return Known(head[:n])
}

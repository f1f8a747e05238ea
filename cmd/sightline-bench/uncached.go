package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// uncached drops the programs and libraries of both sides from the kernel's cache, so
// that they are read from the disk as after a boot: of a file that was just written,
// by a build or an installation, the kernel maps more at each look than of one that it
// has read. Pages that a process uses stay.
func (env *Env) uncached() error {
	files := []string{env.ORT}
	for _, dir := range []string{env.Bin, filepath.Dir(filepath.Dir(env.Python))} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && (filepath.Base(filepath.Dir(path)) == "bin" || strings.Contains(d.Name(), ".so")) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("find what is in the cache: %w", err)
		}
	}
	for _, path := range files {
		if err := drop(path); err != nil {
			return fmt.Errorf("drop a file from the cache: %w", err)
		}
	}
	return nil
}

func drop(path string) (err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) { // a link to nowhere
		return nil
	} else if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

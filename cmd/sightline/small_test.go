package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFilesWithoutEnd: a device file in the place of a small one is refused
// before it has filled the memory.
func TestFilesWithoutEnd(t *testing.T) {
	dir := t.TempDir()
	huge := filepath.Join(dir, "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<32); err != nil { // sparse
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"trust", "init", huge, "--metadata-dir", filepath.Join(dir, "m")},
		{"keys", "init", "--dir", filepath.Join(dir, "k"), "--no-upload", "--online", huge},
		{"keys", "init", "--dir", filepath.Join(dir, "k"), "--repo", filepath.Join(dir, "r"), "--passphrase-file", huge},
		{"keys", "sign", huge, "--dir", filepath.Join(dir, "k"), "--no-upload"},
	} {
		if code, said := sightline(t, args...); code != 1 || !strings.Contains(said, huge+": it has more than ") {
			t.Errorf("%v: %d: %s", args, code, said)
		}
	}
}

// TestPassphraseOfAPipe: a shell's <(…) is one.
func TestPassphraseOfAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(pipe, []byte("a long passphrase\nnot this\n"), 0o600) }()
	a := passphrases{file: pipe}
	if text, err := a.fromFile(); err != nil || text != "a long passphrase" {
		t.Errorf("%q, %v", text, err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
}

// TestShowAPipe: what waits for a writer isn't a bundle.
func TestShowAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"show", pipe}, {"lint", pipe}, {"unpack", pipe, filepath.Join(t.TempDir(), "new")}} {
		if code, said := sightline(t, append([]string{"bundle"}, args...)...); code != 1 || !strings.Contains(said, "it is no regular file") {
			t.Errorf("%v: %d: %s", args, code, said)
		}
	}
}

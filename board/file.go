package board

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Limits of what is believed to be a file of the kernel.
const (
	maxText = 64 << 10 // bytes of a file; sysfs gives a page at most
	maxName = 80       // bytes of a name
	maxDir  = 1024     // entries of a folder
)

// tree reads below a root and gathers what is there but can't be used.
type tree struct {
	fs       fs.FS
	problems []Problem
}

func (t *tree) problem(path, format string, args ...any) {
	if len(t.problems) < maxList {
		t.problems = append(t.problems, Problem{path, fmt.Sprintf(format, args...)})
	}
}

// file is a file's content. One that isn't there is no problem.
func (t *tree) file(name string) ([]byte, bool) {
	f, err := t.fs.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	var b []byte
	if err == nil {
		defer f.Close()
		b, err = io.ReadAll(io.LimitReader(f, maxText+1))
	}
	if err != nil {
		t.problem(name, "%v", bare(err))
		return nil, false
	}
	if len(b) > maxText {
		t.problem(name, "is larger than %d bytes", maxText)
		return nil, false
	}
	return b, true
}

// bare is the error without the path that Problem has already.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// text is a file's content up to its first NUL, made fit to be shown; false if
// that is nothing.
func (t *tree) text(name string) (string, bool) {
	b, ok := t.file(name)
	if !ok {
		return "", false
	}
	s := clean(b)
	return s, s != ""
}

// clean is one line that can be shown and put in a message: valid UTF-8, no
// control characters, at most maxName bytes.
func clean(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	s := strings.Map(func(r rune) rune {
		switch {
		case r == unicode.ReplacementChar:
			return -1
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(b), ""))
	s = strings.Join(strings.Fields(s), " ")
	for len(s) > maxName {
		s = s[:strings.LastIndexFunc(s, func(rune) bool { return true })]
	}
	return strings.TrimSpace(s)
}

// number is the whole number that a file consists of.
func (t *tree) number(name string) (int64, bool) {
	b, ok := t.file(name)
	if !ok {
		return 0, false
	}
	n, err := parseNumber(b)
	if err != nil {
		t.problem(name, "%v", err)
		return 0, false
	}
	return n, true
}

func parseNumber(b []byte) (int64, error) {
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("is no whole number: %.20q", b)
	}
	return n, nil
}

// between is a file's number if it is in [low, high].
func (t *tree) between(name string, low, high int64) (int64, bool) {
	n, ok := t.number(name)
	if ok && (n < low || n > high) {
		t.problem(name, "%d is not between %d and %d", n, low, high)
		ok = false
	}
	return n, ok
}

// scaled is a file's number times scale, nil if it isn't in [low, high].
func (t *tree) scaled(name string, low, high int64, scale float64) *float64 {
	n, ok := t.between(name, low, high)
	if !ok {
		return nil
	}
	v := float64(n) * scale
	return &v
}

// unsigned is a file's number, nil if it isn't in [0, high].
func (t *tree) unsigned(name string, high int64) *uint64 {
	n, ok := t.between(name, 0, high)
	if !ok {
		return nil
	}
	v := uint64(n)
	return &v
}

// numbered are the folders or files in dir whose name is prefix and a number,
// by that number, as paths.
func (t *tree) numbered(dir, prefix string) []string {
	type entry struct {
		n    uint64
		path string
	}
	var list []entry
	for _, name := range t.names(dir) {
		digits, ok := strings.CutPrefix(name, prefix)
		n, err := strconv.ParseUint(digits, 10, 32)
		if ok && err == nil {
			list = append(list, entry{n, path.Join(dir, name)})
		}
	}
	slices.SortFunc(list, func(a, b entry) int { return int(int64(a.n) - int64(b.n)) })
	paths := make([]string, len(list))
	for i, e := range list {
		paths[i] = e.path
	}
	return paths
}

// names are the entries of a folder; one that isn't there has none.
func (t *tree) names(dir string) []string {
	entries, err := fs.ReadDir(t.fs, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.problem(dir, "%v", bare(err))
	}
	var names []string
	for _, e := range entries[:min(len(entries), maxDir)] {
		names = append(names, e.Name())
	}
	return names
}

// finite reports whether a float is a number that can be told.
func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

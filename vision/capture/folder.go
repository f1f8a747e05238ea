package capture

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/vision/picture"
)

// folderReader gives pictures in the natural order of their names.
type folderReader struct {
	paths []string
	next  int
}

func openFolder(dir string) (*folderReader, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, bare(err)
	}
	r := &folderReader{}
	for _, e := range entries {
		if !e.IsDir() && pictureName(e.Name()) {
			r.paths = append(r.paths, filepath.Join(dir, e.Name()))
		}
	}
	if len(r.paths) == 0 {
		return nil, fmt.Errorf("the folder has %d entries and no picture (.jpg, .jpeg, .png, .bmp, .webp)", len(entries))
	}
	slices.SortStableFunc(r.paths, natural)
	return r, nil
}

// Read decodes the next picture into its room.
func (r *folderReader) Read(room roomFunc) (shot, error) {
	if r.next == len(r.paths) {
		return shot{}, io.EOF
	}
	path := r.paths[r.next]
	r.next++
	name := filepath.Base(path)
	stamp := monotonic()
	data, err := picture.ReadFile(path)
	if err != nil {
		return shot{}, errUnreadable{fmt.Errorf("picture %s: %w", name, bare(err))}
	}
	s, err := decodeInto(data, room)
	s.Mono, s.Name = stamp, name
	if bad := (errUnreadable{}); errors.As(err, &bad) {
		err = errUnreadable{fmt.Errorf("picture %s: %w", name, bad.err)}
	}
	return s, err
}

// Close has nothing to close: each picture's file is read whole.
func (r *folderReader) Close() {}

// decodeInto decodes a picture into the memory that room gives for it.
func decodeInto(data []byte, room roomFunc) (shot, error) {
	var roomErr error
	noRoom := false
	f, err := picture.Decode(data, func(w, h int) ([]byte, error) {
		var mem []byte
		mem, roomErr = room(w * h * 3)
		noRoom = roomErr == nil && mem == nil
		return mem, roomErr
	})
	switch {
	case roomErr != nil:
		return shot{}, roomErr
	case noRoom:
		return shot{empty: true}, nil
	case err != nil:
		return shot{}, errUnreadable{err}
	}
	return shot{taken: taken{Width: f.Width, Height: f.Height}}, nil
}

// natural compares names with the numbers in them by value: 2.jpg before 10.jpg.
func natural(a, b string) int {
	whole := cmp.Compare(a, b)
	for a != "" && b != "" {
		na, nb := digits(a), digits(b)
		if na > 0 && nb > 0 {
			x, y := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Or(cmp.Compare(len(a), len(b)), whole)
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

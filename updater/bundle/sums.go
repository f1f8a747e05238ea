package bundle

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// maxSums bounds the list of sums, in bytes.
const maxSums = 1 << 20

// ErrInvalid is of every error that says that the bundle itself is wrong, so
// that trying again can't help; a disk without room or a broken stream is not.
var ErrInvalid = errors.New("the bundle is invalid")

// invalid is an error of the bundle itself, with its own text.
type invalid struct{ error }

func (i invalid) Unwrap() error        { return i.error }
func (i invalid) Is(target error) bool { return target == ErrInvalid }

func refuse(format string, args ...any) error { return invalid{fmt.Errorf(format, args...)} }

// File is one file of a bundle.
type File struct {
	Path   string
	Size   int64 // bytes
	SHA256 [32]byte
}

// sumsText is the list as it stands in the archive, one file a line.
func sumsText(files []File) []byte {
	var b bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&b, "%x  %s\n", f.SHA256, f.Path)
	}
	return b.Bytes()
}

// parseSums reads the list strictly: sorted, each path once, nothing else. The
// sizes stay 0.
func parseSums(b []byte, most int) ([]File, error) {
	var files []File
	seen := spelling{}
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			return nil, refuse("%s: its last line has no end", SumsFile)
		}
		b = rest
		if len(files) == most {
			return nil, refuse("%s: more than %d files", SumsFile, most)
		}
		f, err := parseSum(string(line))
		if err != nil {
			return nil, refuse("%s:%d: %w", SumsFile, len(files)+1, err)
		}
		if err := seen.add(f.Path); err != nil {
			return nil, refuse("%s:%d: %w", SumsFile, len(files)+1, err)
		}
		if n := len(files); n > 0 && files[n-1].Path >= f.Path {
			return nil, refuse("%s:%d: %q stands after %q: the list must be sorted", SumsFile, n+1, f.Path, files[n-1].Path)
		}
		files = append(files, f)
	}
	return files, nil
}

func parseSum(line string) (f File, err error) {
	const digits = 64
	if len(line) < digits+3 || line[digits:digits+2] != "  " || line[:digits] != strings.ToLower(line[:digits]) {
		return f, fmt.Errorf("%.80q is not a SHA-256 in lower case, two spaces and a path", line)
	}
	if _, err := hex.Decode(f.SHA256[:], []byte(line[:digits])); err != nil {
		return f, fmt.Errorf("%.80q does not begin with a SHA-256 in hex", line)
	}
	f.Path = line[digits+2:]
	return f, CheckPath(f.Path)
}

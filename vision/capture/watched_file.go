package capture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/vision/picture"
)

// fileSig tells one content of a file from another.
type fileSig struct {
	size  int64
	mtime int64 // ns
}

func (s fileSig) key() string {
	return strconv.FormatInt(s.size, 36) + "." + strconv.FormatInt(s.mtime, 36)
}

// dirID tells whether a folder is still the same one, or another file system's.
type dirID struct {
	dev uint64
	ino uint64
}

func folderID(dir string) (dirID, error) {
	var st unix.Stat_t
	err := ignoringEINTR(func() error { return unix.Stat(dir, &st) })
	switch {
	case errors.Is(err, unix.ENOENT):
		return dirID{}, errors.New("no such folder: is its share mounted?")
	case err != nil:
		return dirID{}, fmt.Errorf("look at the folder: %w", err)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return dirID{}, errors.New("it is no folder any more")
	}
	return dirID{uint64(st.Dev), st.Ino}, nil
}

// ignoringEINTR repeats a call that a signal interrupted, as happens on shares.
func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// errNoFile is what isn't a regular file: a link, a pipe, a folder. None is
// followed, opened or moved.
var errNoFile = errors.New("not a regular file")

// readWhole reads a file that nobody changes meanwhile. If somebody does, the
// sig isn't the one that was seen before.
func readWhole(path string) ([]byte, fileSig, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return nil, fileSig{}, errNoFile
	}
	if err != nil {
		return nil, fileSig{}, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, fileSig{}, err
	}
	sig := fileSig{before.Size(), before.ModTime().UnixNano()}
	switch {
	case !before.Mode().IsRegular():
		return nil, sig, errNoFile
	case sig.size > picture.MaxBytes:
		return nil, sig, errUnreadable{fmt.Errorf("%d bytes, at most %d are read", sig.size, picture.MaxBytes)}
	}
	data := make([]byte, sig.size)
	if _, err := io.ReadFull(f, data); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, sig, err
	}
	after, err := f.Stat()
	if err != nil {
		return nil, sig, err
	}
	return data, fileSig{after.Size(), after.ModTime().UnixNano()}, nil
}

// shownName is a file's name as it can be told: one that isn't UTF-8, or could
// be taken for such a one, is quoted as Go does. fileName is the way back.
func shownName(name string) string {
	if utf8.ValidString(name) && !strings.Contains(name, `\`) {
		return name
	}
	quoted := strconv.Quote(name)
	return quoted[1 : len(quoted)-1]
}

func fileName(shown string) string {
	if !strings.Contains(shown, `\`) {
		return shown
	}
	name, err := strconv.Unquote(`"` + shown + `"`)
	if err != nil {
		return shown
	}
	return name
}

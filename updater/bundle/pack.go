package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// packWindow is the window that Pack compresses with, in bytes.
const packWindow = 4 << 20

// Pack writes a bundle's folder as an archive and gives its SHA-256 in hex.
// The same folder gives the same bytes, from the same version of the program.
// What Unpack would refuse isn't packed. A SHA256SUMS that lies in the folder,
// as in an unpacked one, is made anew.
func Pack(dir fs.FS, w io.Writer) (digest string, err error) {
	files, err := List(dir)
	if err == nil {
		_, _, err = understandFS(dir, files)
	}
	if err != nil {
		return "", fmt.Errorf("pack bundle: %w", err)
	}
	sum := sha256.New()
	if err := pack(dir, files, io.MultiWriter(w, sum)); err != nil {
		return "", fmt.Errorf("pack bundle: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func pack(dir fs.FS, files []File, w io.Writer) error {
	sums := sumsText(files)
	if len(sums) > maxSums {
		return refuse("%s would have %d bytes, at most %d are possible", SumsFile, len(sums), maxSums)
	}
	total := block + padded(int64(len(sums))) + 2*block
	for _, f := range files {
		total += block + padded(f.Size)
	}
	if most := (Limits{}.orDefaults().Bytes); total > most {
		return refuse("its files have %d bytes with their headers, at most %d are possible", total, most)
	}
	// One thread, so that the output hangs on nothing but the input.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(packWindow), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	enc.ResetContentSize(w, total)
	if err := writeTar(dir, sums, files, enc); err != nil {
		enc.Reset(nil) // drops what is pending; Close would write it
		return err
	}
	return enc.Close()
}

func writeTar(dir fs.FS, sums []byte, files []File, w io.Writer) error {
	h := header(SumsFile, int64(len(sums)))
	var zeros [2 * block]byte
	for _, b := range [][]byte{h[:], sums, zeros[:padded(int64(len(sums)))-int64(len(sums))]} {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := writeTarFile(dir, f, w); err != nil {
			return err
		}
	}
	_, err := w.Write(zeros[:])
	return err
}

// writeTarFile writes one file, which must still be as it was listed.
func writeTarFile(dir fs.FS, f File, w io.Writer) error {
	h := header(f.Path, f.Size)
	if _, err := w.Write(h[:]); err != nil {
		return err
	}
	in, err := dir.Open(f.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(in, f.Size+1))
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	if n != f.Size || [sha256.Size]byte(sum.Sum(nil)) != f.SHA256 {
		return fmt.Errorf("%s was changed while it was being packed", f.Path)
	}
	var zeros [block]byte
	_, err = w.Write(zeros[:padded(n)-n])
	return err
}

// List gives the files of a folder with their hashes, sorted as in an archive,
// without SHA256SUMS. It refuses what Pack would refuse of their names, kinds,
// number and size.
func List(fsys fs.FS) ([]File, error) {
	var files []File
	seen := spelling{}
	limit, total := Limits{}.orDefaults(), int64(0)
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || p == SumsFile {
			return err
		}
		if err := errors.Join(CheckPath(p), seen.add(p)); err != nil {
			return invalid{err}
		}
		if !d.Type().IsRegular() {
			return refuse("%s is %s: a bundle holds regular files alone", p, kindOf(d.Type()))
		}
		if len(files) == limit.Files {
			return refuse("it has more than %d files", limit.Files)
		}
		f, err := hashFile(fsys, p, limit.Bytes-total)
		total += f.Size
		files = append(files, f)
		return err
	})
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, err
}

// kindOf is what a directory entry is, for people.
func kindOf(t fs.FileMode) string {
	switch {
	case t&fs.ModeSymlink != 0:
		return "a symbolic link"
	case t&fs.ModeDevice != 0:
		return "a device"
	case t&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case t&fs.ModeSocket != 0:
		return "a socket"
	}
	return "no regular file"
}

func hashFile(fsys fs.FS, p string, most int64) (File, error) {
	in, err := fsys.Open(p)
	if err != nil {
		return File{}, err
	}
	defer in.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(in, most+1))
	if err != nil {
		return File{}, fmt.Errorf("%s: %w", p, err)
	}
	if n > most {
		return File{}, refuse("its files are larger than the %d bytes that are possible", Limits{}.orDefaults().Bytes)
	}
	return File{Path: p, Size: n, SHA256: [sha256.Size]byte(sum.Sum(nil))}, nil
}

// understandFS is understand for a folder.
func understandFS(fsys fs.FS, files []File) (*Manifest, *Golden, error) {
	texts := map[string][]byte{}
	for name, most := range map[string]int64{ManifestFile: maxManifest, GoldenFile: maxGolden} {
		b, err := readBounded(fsys, name, most)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // understand tells what is missing
			return nil, nil, err
		}
		texts[name] = b
	}
	return understand(files, texts[ManifestFile], texts[GoldenFile])
}

// readBounded reads a small file; one that is too large is invalid.
func readBounded(fsys fs.FS, name string, most int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if int64(len(b)) > most {
		return nil, refuse("%s has more than %d bytes", name, most)
	}
	return b, nil
}

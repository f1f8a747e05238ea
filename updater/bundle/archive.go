package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Limits bound what is unpacked. Zero fields are the defaults.
type Limits struct {
	Bytes int64 // of the archive, decompressed; 4 GiB
	Files int   // 4096
	Ratio int64 // decompressed to compressed, beyond the first 64 MiB; 200
}

// ratioFrom is how much may come out before the ratio counts: a small file of
// zeros is nobody's attack.
const ratioFrom = 64 << 20

func (l Limits) orDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 4 << 30
	}
	if l.Files <= 0 {
		l.Files = 4096
	}
	if l.Ratio <= 0 {
		l.Ratio = 200
	}
	l.Bytes = min(l.Bytes, maxTarSize)
	return l
}

// Archive is a bundle's archive that has been read through and found good.
type Archive struct {
	path     string
	digest   string
	size     int64
	unpacked int64
	sums     [sha256.Size]byte
	files    []File
	manifest *Manifest
	golden   *Golden
}

// Open reads the archive through and checks all that Unpack checks, but writes
// nothing. The error is one of the file system or has ErrInvalid.
func Open(path string) (*Archive, error) {
	f, err := OpenFile(path)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	defer f.Close()
	sum, count := sha256.New(), counter(0)
	c, err := readArchive(io.TeeReader(f, io.MultiWriter(sum, &count)), Limits{}, nil)
	if err != nil {
		return nil, fmt.Errorf("read bundle %s: %w", path, err)
	}
	return &Archive{
		path: path, digest: hex.EncodeToString(sum.Sum(nil)), size: int64(count), unpacked: c.unpacked,
		sums: c.sums, files: c.files, manifest: c.manifest, golden: c.golden,
	}, nil
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// Digest is the SHA-256 of the archive, in hex: the bundle's identity.
func (a *Archive) Digest() string { return a.digest }

// Size of the archive in bytes.
func (a *Archive) Size() int64 { return a.size }

// Unpacked is the size of the archive decompressed, in bytes: the room that it
// takes on a disk, but for what the file system rounds up.
func (a *Archive) Unpacked() int64 { return a.unpacked }

// Sums is the SHA-256 of its list of sums, which binds all its files.
func (a *Archive) Sums() [sha256.Size]byte { return a.sums }

// Manifest is the bundle's own; it is shared, so nobody may change it.
func (a *Archive) Manifest() *Manifest { return a.manifest }

// Golden is what the bundle expects of known pictures, nil without; shared.
func (a *Archive) Golden() *Golden { return a.golden }

// Files of the archive in its order, without SHA256SUMS.
func (a *Archive) Files() []File { return slices.Clone(a.files) }

// ReadFile gives the contents of one file of at most so many bytes. It reads
// the archive once more.
func (a *Archive) ReadFile(path string, most int64) ([]byte, error) {
	in, err := os.Open(a.path)
	if err != nil {
		return nil, fmt.Errorf("read %s of a bundle: %w", path, err)
	}
	defer in.Close()
	var b []byte
	found := errors.New("found")
	_, err = readArchive(in, Limits{}, func(f File, r io.Reader) (err error) {
		if f.Path != path {
			return nil
		}
		if f.Size > most {
			return fmt.Errorf("it has %d bytes, at most %d are read", f.Size, most)
		}
		if b, err = io.ReadAll(r); err != nil {
			return err
		}
		if sha256.Sum256(b) != f.SHA256 {
			return refuse("the archive was changed meanwhile")
		}
		return found
	})
	switch {
	case errors.Is(err, found):
		return b, nil
	case err == nil:
		err = os.ErrNotExist
	}
	return nil, fmt.Errorf("read %s of bundle %s: %w", path, a.path, err)
}

// contents is what reading an archive tells.
type contents struct {
	files    []File
	sums     [sha256.Size]byte // of the list itself
	sumsText []byte
	manifest *Manifest
	golden   *Golden
	unpacked int64
}

// readArchive decompresses and checks an archive to its last byte. each, if
// there is one, gets every file but the list of sums before its hash is known
// to be right, and may leave some of it unread.
func readArchive(archive io.Reader, limit Limits, each func(File, io.Reader) error) (*contents, error) {
	limit = limit.orDefaults()
	s, err := openStream(archive, limit)
	if err != nil {
		return nil, err
	}
	defer s.close()
	c, err := readTar(s, limit, each)
	if err != nil {
		return nil, err
	}
	c.unpacked = s.frame.size
	if s.done != s.frame.size {
		return nil, refuse("its frame announces %d bytes and holds %d", s.frame.size, s.done)
	}
	return c, s.frame.end()
}

// readTar reads the files, which must be exactly those of the list, and checks
// what they say about each other.
func readTar(r io.Reader, limit Limits, each func(File, io.Reader) error) (*contents, error) {
	t := tarReader{in: r, left: limit.Bytes}
	c := &contents{}
	size, err := t.header(SumsFile)
	if err != nil {
		return nil, err
	}
	if c.sumsText, err = t.text(SumsFile, size, maxSums); err != nil {
		return nil, err
	}
	c.sums = sha256.Sum256(c.sumsText)
	if c.files, err = parseSums(c.sumsText, limit.Files); err != nil {
		return nil, err
	}
	kept := map[string]*bytes.Buffer{ManifestFile: {}, GoldenFile: {}}
	bounds := map[string]int64{ManifestFile: maxManifest, GoldenFile: maxGolden}
	for i := range c.files {
		f := &c.files[i]
		if f.Size, err = t.header(f.Path); err != nil {
			return nil, err
		}
		keep := kept[f.Path]
		if keep != nil && f.Size > bounds[f.Path] {
			return nil, refuse("%s has %d bytes, at most %d are possible", f.Path, f.Size, bounds[f.Path])
		}
		if err := t.file(*f, keep, each); err != nil {
			return nil, err
		}
	}
	if err := t.end(); err != nil {
		return nil, err
	}
	c.manifest, c.golden, err = understand(c.files, kept[ManifestFile].Bytes(), kept[GoldenFile].Bytes())
	return c, err
}

// understand parses what a bundle says about itself, and compares it with its files.
func understand(files []File, manifest, golden []byte) (*Manifest, *Golden, error) {
	have := map[string]File{}
	for _, f := range files {
		have[f.Path] = f
	}
	if _, ok := have[ManifestFile]; !ok {
		return nil, nil, refuse("it has no %s", ManifestFile)
	}
	m, err := Parse(manifest)
	if err != nil {
		return nil, nil, invalid{err}
	}
	if err := errors.Join(m.compare(have)...); err != nil {
		return nil, nil, invalid{err}
	}
	if m.Golden == "" {
		return m, nil, nil
	}
	g, err := ParseGolden(golden)
	if err == nil {
		err = errors.Join(g.compare(have)...)
	}
	if err != nil {
		return nil, nil, invalid{err}
	}
	return m, g, nil
}

package depot

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/updater/bundle"
)

// Limits of bundles.
const (
	PieceSize  = bundle.PieceSize // bytes; the last piece of a file may be shorter
	MaxBundle  = 4 << 30          // bytes of an archive
	maxPutting = 2                // bundles that come in at once
	// reserve is what a bundle leaves free on the disk: the fleet's results are
	// on the same one.
	reserve = 64 << 20
)

var digestText = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Bundle is one that the depot holds.
type Bundle struct {
	Digest    string    `json:"digest"` // SHA-256 of the archive, hex
	Size      int64     `json:"size"`   // bytes
	Pieces    string    `json:"pieces"` // SHA-256 of the list of the pieces' SHA-256, hex
	Target    string    `json:"target"` // path in the repository
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	Licence   string    `json:"licence"`
	Family    string    `json:"family"` // of the model
	Model     string    `json:"model"`  // SHA-256 of the network's file, hex
	Labels    []string  `json:"labels"`
	Rule      string    `json:"rule"`   // as commands write it
	Golden    bool      `json:"golden"` // it has golden pictures
	Put       time.Time `json:"put"`
	Published bool      `json:"-"` // named by the targets that devices are given now
}

// PutBundle keeps a bundle's archive of so many bytes. It must have that
// digest (hex) and be a valid bundle. One that is there already is no error,
// and nothing is read then. If PutBundle fails, or the process ends, nothing
// is left of it.
//
// Errors: ErrRefused with what is wrong with it, ErrFull, ErrBusy, and what
// reading from r says.
func (d *Depot) PutBundle(ctx context.Context, digest string, size int64, r io.Reader) (*Bundle, error) {
	b, err := d.putBundle(ctx, digest, size, r)
	if err != nil {
		return nil, fmt.Errorf("keep bundle %.12s: %w", digest, err)
	}
	return b, nil
}

func (d *Depot) putBundle(ctx context.Context, digest string, size int64, r io.Reader) (*Bundle, error) {
	if !digestText.MatchString(digest) {
		return nil, refused("%q isn't a SHA-256 in lower-case hex", digest)
	}
	if size <= 0 || size > MaxBundle {
		return nil, refused("it has %d bytes, 1 to %d will do", size, int64(MaxBundle))
	}
	if b, err := d.Bundle(digest); err == nil {
		return b, nil
	} // what is damaged is put anew
	select {
	case d.putting <- struct{}{}:
		defer func() { <-d.putting }()
	default:
		return nil, fmt.Errorf("%w: %d others come in just now", ErrBusy, maxPutting)
	}
	if err := d.room(size); err != nil {
		return nil, err
	}
	w, err := d.top.step.New(d.bundlePath(digest), 0o640)
	if err != nil {
		return nil, explain(err)
	}
	defer w.Close()
	b, err := d.receive(ctx, w, digest, size, r)
	if err == nil {
		err = w.Commit()
	}
	if err != nil {
		return nil, explain(err)
	}
	d.files.forget(d.bundlePath(digest), d.top.in(piecesFolder).file(digest)) // damaged ones that were removed
	return b, nil
}

// room refuses what the disk has no room for.
func (d *Depot) room(size int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(d.top.path, &st); err != nil {
		return fmt.Errorf("look how much room there is: %w", err)
	}
	free := int64(st.Bavail) * st.Bsize
	if free-size < d.reserve {
		return fmt.Errorf("%w: %d MiB are free, the bundle has %d MiB, and %d MiB stay free for results", ErrFull, free>>20, (size+1<<20-1)>>20, d.reserve>>20)
	}
	return nil
}

// receive writes the archive into w and checks it, and keeps what is known
// about it. Only the archive's last name is missing then.
func (d *Depot) receive(ctx context.Context, w *whole.File, digest string, size int64, r io.Reader) (*Bundle, error) {
	// Two that come at once don't both count on the same room. Where a file
	// system can't keep it, writing tells.
	if err := unix.Fallocate(int(w.Fd()), 0, 0, size); errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return nil, err
	}
	p := newPieceHash()
	out := bufio.NewWriterSize(w, 1<<20)
	n, err := io.Copy(io.MultiWriter(out, p), whileAlive{ctx, io.LimitReader(r, size+1)})
	if err != nil {
		return nil, err
	}
	whole, list := p.sum()
	switch {
	case n > size:
		return nil, refused("it goes on after %d bytes", size)
	case n < size:
		return nil, refused("it ends after %d bytes of %d: send it again", n, size)
	case hex.EncodeToString(whole) != digest:
		return nil, refused("its SHA-256 is %x", whole)
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	a, err := bundle.Open(w.Name())
	switch {
	case errors.Is(err, bundle.ErrInvalid):
		// Without the file's name here, and without all that is wrong: a bundle may
		// be made to have millions of faults.
		return nil, refused("%.2000s", errors.Unwrap(err).Error())
	case err != nil:
		return nil, err
	}
	b := about(a.Manifest())
	sum := sha256.Sum256(list)
	b.Digest, b.Size, b.Pieces, b.Put = digest, size, hex.EncodeToString(sum[:]), d.now().UTC()
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return nil, err
	}
	return b, errors.Join(
		d.top.in(piecesFolder).write(digest, list, 0o640),
		d.top.in(aboutFolder).write(digest+".json", append(text, '\n'), 0o640))
}

func about(m *bundle.Manifest) *Bundle {
	b := &Bundle{
		Target: bundle.TargetPath(m.Name, m.Version), Name: m.Name, Version: m.Version, Licence: m.Licence,
		Family: m.Model.Family, Model: m.Model.SHA256, Rule: m.Rule.Spec(), Golden: m.Golden != "", Labels: []string{},
	}
	for _, l := range m.Model.Labels {
		b.Labels = append(b.Labels, l.Name)
	}
	return b
}

// whileAlive reads until ctx ends.
type whileAlive struct {
	ctx context.Context
	r   io.Reader
}

func (w whileAlive) Read(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(b)
}

// pieceHash hashes what is written, the whole of it and each piece.
type pieceHash struct {
	whole, piece hash.Hash
	in           int // bytes of the piece so far
	list         []byte
}

func newPieceHash() *pieceHash { return &pieceHash{whole: sha256.New(), piece: sha256.New()} }

func (p *pieceHash) Write(b []byte) (int, error) {
	n := len(b)
	p.whole.Write(b)
	for len(b) > 0 {
		take := min(len(b), PieceSize-p.in)
		p.piece.Write(b[:take])
		if p.in, b = p.in+take, b[take:]; p.in == PieceSize {
			p.end()
		}
	}
	return n, nil
}

func (p *pieceHash) end() {
	p.list = p.piece.Sum(p.list)
	p.piece.Reset()
	p.in = 0
}

func (p *pieceHash) sum() (whole, list []byte) {
	if p.in > 0 {
		p.end()
	}
	return p.whole.Sum(nil), p.list
}

// Bundle is the one with that digest (hex); ErrMissing without.
func (d *Depot) Bundle(digest string) (*Bundle, error) {
	if !digestText.MatchString(digest) {
		return nil, fmt.Errorf("bundle %.12q: %w", digest, ErrMissing)
	}
	if _, err := os.Stat(d.bundlePath(digest)); err != nil {
		return nil, fmt.Errorf("bundle %.12s: %w", digest, explain(err))
	}
	text, err := d.top.in(aboutFolder).read(digest + ".json")
	if err != nil {
		return nil, fmt.Errorf("bundle %.12s: %w", digest, err)
	}
	b := new(Bundle)
	if err := json.Unmarshal(text, b); err != nil {
		return nil, fmt.Errorf("bundle %.12s: read %s/%s.json: %w", digest, aboutFolder, digest, err)
	}
	b.Published = d.publishes(b)
	return b, nil
}

// List are the bundles that the depot holds, by name, the last put first.
func (d *Depot) List() ([]Bundle, error) {
	entries, err := os.ReadDir(d.top.in(targetsFolder).path)
	if err != nil {
		return nil, fmt.Errorf("list bundles: %w", err)
	}
	var all []Bundle
	for _, e := range entries {
		digest, ok := strings.CutSuffix(e.Name(), bundleSuffix)
		if !ok || !digestText.MatchString(digest) {
			continue
		}
		b, err := d.Bundle(digest)
		if err != nil { // the others are good; putting it again mends it
			d.log.Warn("leave a bundle out of the list", "err", err)
			continue
		}
		all = append(all, *b)
	}
	slices.SortStableFunc(all, func(a, b Bundle) int {
		if a.Name != b.Name {
			return strings.Compare(a.Name, b.Name)
		}
		return b.Put.Compare(a.Put)
	})
	return all, nil
}

// Target opens the archive with that digest (hex), whose reader closes it;
// ErrMissing without.
func (d *Depot) Target(digest string) (*os.File, error) {
	if !digestText.MatchString(digest) {
		return nil, fmt.Errorf("open bundle %.12q: %w", digest, ErrMissing)
	}
	f, err := os.Open(d.bundlePath(digest))
	if err != nil {
		return nil, fmt.Errorf("open bundle %.12s: %w", digest, explain(err))
	}
	return f, nil
}

// Pieces are the SHA-256 of each piece of the bundle with that digest (hex),
// one after the other; ErrMissing without.
func (d *Depot) Pieces(digest string) ([]byte, error) {
	if !digestText.MatchString(digest) {
		return nil, fmt.Errorf("pieces of bundle %.12q: %w", digest, ErrMissing)
	}
	return d.top.in(piecesFolder).read(digest)
}

func (d *Depot) bundlePath(digest string) string {
	return filepath.Join(d.top.path, targetsFolder, digest+bundleSuffix)
}

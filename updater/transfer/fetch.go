package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sightline-edge/sightline/sync/wire"
)

// Want is a bundle as the signed metadata tells it.
type Want struct {
	Digest [32]byte // SHA-256 of the archive
	Length int64    // of the archive, bytes
	Piece  int      // bytes in each piece but the last; 0 for PieceSize
	Pieces [32]byte // SHA-256 of the list of the pieces' SHA-256
	Room   int64    // bytes that have to be free beside the archive, as for unpacking it
}

// Limits of what is taken.
const (
	leastPiece    = 4 << 10
	mostPieces    = 1 << 20
	sumBytes      = sha256.Size
	metadataTries = 3
	listTries     = 3
)

func (w *Want) check() error {
	if w.Piece == 0 {
		w.Piece = PieceSize
	}
	if w.Length <= 0 || w.Piece < leastPiece || w.Piece > PieceSize || (w.Length-1)/int64(w.Piece) >= mostPieces {
		return fmt.Errorf("a bundle of %d bytes in pieces of %d can't be fetched", w.Length, w.Piece)
	}
	return nil
}

func (w *Want) count() int { return int((w.Length-1)/int64(w.Piece)) + 1 }

// name is what its files are called.
func (w *Want) name() string { return hex.EncodeToString(w.Digest[:]) }

// size is how many bytes a piece has.
func (w *Want) size(index int) int {
	return int(min(w.Length-int64(index)*int64(w.Piece), int64(w.Piece)))
}

// supplier is a way to get a bundle.
type supplier interface {
	// list gets the list of the pieces' hashes, of which it checks the length alone.
	list(ctx context.Context, w *Want) ([]byte, error)
	// supply puts all pieces that the part misses into it. It waits through
	// cuts for as long as ctx lasts.
	supply(ctx context.Context, pt *part) error
}

// Fetch gets a bundle and returns the path of its file, each piece of which is
// the signed one. Whoever reads it checks its SHA-256 meanwhile: the list of
// pieces is signed beside it, and may have been made of another file.
//
// What an earlier Fetch got stays, so that only the rest is asked for; without
// a connection it waits for one until ctx ends. progress, which may be nil, is
// called as pieces come, with bytes, and must not block.
// The errors are *NoRoom, ErrMissing, ErrWrong, ErrRefused, ctx's, and the
// disk's.
func (p *Puller) Fetch(ctx context.Context, w Want, progress func(done, total int64)) (path string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("fetch bundle %x: %w", w.Digest[:6], err)
		}
	}()
	if err := w.check(); err != nil {
		return "", err
	}
	done, err := p.alone(ctx, w.Digest)
	if err != nil {
		return "", err
	}
	defer done()
	pt, err := openPart(p.cfg.Dir, w)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, pt.close()) }()
	if progress != nil {
		pt.progress = progress
	}
	s, err := p.supplier(ctx)
	if err != nil {
		return "", err
	}
	if err := pt.learn(ctx, s); err != nil {
		return "", err
	}
	if err := pt.verify(ctx); err != nil {
		return "", err
	}
	return pt.path(), s.supply(ctx, pt)
}

// alone waits until no other Fetch of that bundle is under way.
func (p *Puller) alone(ctx context.Context, digest [32]byte) (done func(), err error) {
	for {
		p.mu.Lock()
		other := p.fetching[digest]
		if other == nil {
			mine := make(chan struct{})
			p.fetching[digest] = mine
			p.mu.Unlock()
			return func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				delete(p.fetching, digest)
				close(mine)
			}, nil
		}
		p.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Remove forgets what there is of a bundle. It must not be fetched meanwhile.
func (p *Puller) Remove(digest [32]byte) error {
	var errs []error
	for _, ending := range []string{partEnding, mapEnding, sumsEnding} {
		if err := os.Remove(filepath.Join(p.cfg.Dir, hex.EncodeToString(digest[:])+ending)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Metadata gets a file of the repository's metadata by its name, which has at
// most so many bytes. It waits for a connection until ctx ends. The errors are
// ErrMissing, ErrWrong, ErrRefused and ctx's.
func (p *Puller) Metadata(ctx context.Context, name string, most int64) ([]byte, error) {
	var err error
	for range metadataTries { // one that is replaced meanwhile changes its size
		m := &memory{}
		r := &request{
			p: p, what: name, piece: PieceSize, most: most, have: newSet(int(most/PieceSize) + 1), put: m.put, took: m.took,
			name: func(g *wire.Get) { g.File = &wire.Get_Metadata{Metadata: name} },
		}
		m.have = r.have
		if err = r.run(ctx); err == nil {
			return m.joined(), nil
		}
		if r.size == 0 || !errors.Is(err, ErrWrong) && !errors.Is(err, ErrRefused) {
			break
		}
	}
	return nil, err
}

// memory keeps the pieces of a small file.
type memory struct {
	pieces [][]byte
	have   *set
}

func (m *memory) put(index int, data []byte) error {
	for len(m.pieces) <= index {
		m.pieces = append(m.pieces, nil)
	}
	m.pieces[index] = data
	return nil
}

func (m *memory) took(index int) error {
	m.have.add(index)
	return nil
}

func (m *memory) joined() []byte {
	var all []byte
	for _, b := range m.pieces {
		all = append(all, b...)
	}
	return all
}

// asking is the supplier over the connection that results go by.
type asking struct{ p *Puller }

func (a asking) list(ctx context.Context, w *Want) ([]byte, error) {
	m, size := &memory{}, int64(w.count())*sumBytes
	r := &request{
		p: a.p, what: "the list of its pieces", piece: PieceSize, size: size, most: size,
		have: newSet(int((size-1)/PieceSize) + 1), put: m.put, took: m.took,
		name: func(g *wire.Get) { g.File = &wire.Get_Pieces{Pieces: w.Digest[:]} },
	}
	m.have = r.have
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	return m.joined(), nil
}

func (a asking) supply(ctx context.Context, pt *part) error {
	r := &request{
		p: a.p, what: "its pieces", piece: pt.want.Piece, size: pt.want.Length, most: pt.want.Length,
		have: pt.have, put: pt.put, took: pt.took,
		name: func(g *wire.Get) { g.File = &wire.Get_Target{Target: pt.want.Digest[:]} },
	}
	return r.run(ctx)
}

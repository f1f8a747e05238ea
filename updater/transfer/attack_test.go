package transfer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater/bundle"
)

// attack fetches from a depot that does something to its answers, and gives
// what was asked for, the error and the puller.
func attack(t *testing.T, b []byte, w Want, twist func(d *depot, g *wire.Get, b *wire.Block) []*wire.Block) (*depot, *Puller, error) {
	t.Helper()
	d, p := newDepot(t, b), newPuller(t.TempDir())
	d.bundles[w.Digest] = b
	connected(d, p, time.Millisecond, 0)
	d.twist = func(g *wire.Get, b *wire.Block) []*wire.Block { return twist(d, g, b) }
	_, err := p.Fetch(t.Context(), w, nil)
	d.twist = nil
	return d, p, err
}

// TestWrongBytes: what isn't signed is never written, and given up soon.
func TestWrongBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, mega)
		d, p, err := attack(t, b, w, func(_ *depot, g *wire.Get, b *wire.Block) []*wire.Block {
			if g.GetTarget() != nil && b.GetIndex() >= 4 {
				b.Data = bytes.Clone(b.GetData())
				b.Data[len(b.Data)/2] ^= 1
			}
			return []*wire.Block{b}
		})
		if !errors.Is(err, ErrWrong) || p.Stats().Wrong != mostWrong+1 {
			t.Fatalf("%v after %d wrong pieces", err, p.Stats().Wrong)
		}
		got, err := os.ReadFile(filepath.Join(p.cfg.Dir, w.name()+partEnding))
		if err != nil || !bytes.Equal(got[:4*PieceSize], b[:4*PieceSize]) || len(bytes.Trim(got[4*PieceSize:], "\x00")) != 0 {
			t.Errorf("wrong bytes were written, %v", err)
		}
		before := d.sent
		fetched(t, t.Context(), p, w, b)
		if d.sent-before != w.Length-4*PieceSize {
			t.Errorf("%d bytes were sent for %d", d.sent-before, w.Length-4*PieceSize)
		}
	})
}

// TestAFewWrongBytes: a piece that goes bad on its way is asked for again.
func TestAFewWrongBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, 4*mega)
		n := 0
		_, p, err := attack(t, b, w, func(_ *depot, _ *wire.Get, b *wire.Block) []*wire.Block {
			if n++; n%8 == 0 {
				b.Data = bytes.Repeat([]byte{1}, len(b.GetData()))
			}
			return []*wire.Block{b}
		})
		if err != nil || p.Stats().Wrong == 0 {
			t.Errorf("%v with %d wrong pieces", err, p.Stats().Wrong)
		}
	})
}

// TestWrongList: a list of pieces that isn't the signed one is of no use.
func TestWrongList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, mega)
		d, _, err := attack(t, b, w, func(_ *depot, g *wire.Get, b *wire.Block) []*wire.Block {
			if g.GetPieces() != nil {
				b.Data = bytes.Clone(b.GetData())
				b.Data[40] ^= 0x80
			}
			return []*wire.Block{b}
		})
		if !errors.Is(err, ErrWrong) || d.sent != 0 || len(d.asked) != listTries {
			t.Errorf("%v, %d bytes were sent, asked %d times", err, d.sent, len(d.asked))
		}
	})
}

// TestBundleGrowsAndShrinks: the signed length is the only one.
func TestBundleGrowsAndShrinks(t *testing.T) {
	for _, size := range []uint64{0, 1, 5 * PieceSize, mega - 1, mega + 1, 1 << 40, 1<<64 - 1} {
		synctest.Test(t, func(t *testing.T) {
			b, w := made(t, mega)
			_, p, err := attack(t, b, w, func(_ *depot, g *wire.Get, b *wire.Block) []*wire.Block {
				if g.GetTarget() != nil && b.GetIndex() > 2 {
					b.Size = size
				}
				return []*wire.Block{b}
			})
			info, _ := os.Stat(filepath.Join(p.cfg.Dir, w.name()+partEnding))
			if !errors.Is(err, ErrWrong) || info.Size() != w.Length {
				t.Errorf("%d: %v, the file has %d bytes", size, err, info.Size())
			}
		})
	}
}

// TestPieceSizes: pieces that are too long, too short or nowhere.
func TestPieceSizes(t *testing.T) {
	for name, change := range map[string]func(*wire.Block){
		"empty":      func(b *wire.Block) { b.Data = nil },
		"one less":   func(b *wire.Block) { b.Data = b.GetData()[1:] },
		"one more":   func(b *wire.Block) { b.Data = append(bytes.Clone(b.GetData()), 0) },
		"the last":   func(b *wire.Block) { b.Index = 16 },
		"far away":   func(b *wire.Block) { b.Index = 1<<32 - 1 },
		"another":    func(b *wire.Block) { b.Index = (b.GetIndex() + 1) % 16 },
		"everywhere": func(b *wire.Block) { b.Data = bytes.Repeat(b.GetData()[:1], 100<<10) },
	} {
		synctest.Test(t, func(t *testing.T) {
			b, w := made(t, mega+5)
			_, p, err := attack(t, b, w, func(d *depot, g *wire.Get, b *wire.Block) []*wire.Block {
				if g.GetTarget() != nil {
					change(b)
				}
				return []*wire.Block{b}
			})
			if !errors.Is(err, ErrWrong) || p.Stats().Bytes > uint64(w.count()*sumBytes) {
				t.Errorf("%s: %v, %d bytes were taken", name, err, p.Stats().Bytes)
			}
		})
	}
}

// TestEndlessData: a fleet that never stops sending is given up, and costs no
// memory.
func TestEndlessData(t *testing.T) {
	for name, flood := range map[string]func(b *wire.Block) *wire.Block{
		"the same piece": func(b *wire.Block) *wire.Block { return b },
		"pieces beyond": func(b *wire.Block) *wire.Block {
			return &wire.Block{Tid: b.GetTid(), Index: 999, Size: b.GetSize(), Data: b.GetData()}
		},
		"garbage with tid": func(b *wire.Block) *wire.Block { return &wire.Block{Tid: b.GetTid(), Index: 999, Size: b.GetSize()} },
	} {
		synctest.Test(t, func(t *testing.T) {
			b, w := made(t, 40*mega)
			d, _, err := attack(t, b, w, func(_ *depot, g *wire.Get, b *wire.Block) []*wire.Block {
				if g.GetTarget() == nil {
					return []*wire.Block{b}
				}
				out := []*wire.Block{b}
				for range 25 {
					out = append(out, flood(b))
				}
				return out
			})
			if !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), "data without end") {
				t.Errorf("%s: %v", name, err)
			}
			if len(d.asked) > w.count() {
				t.Errorf("%s: asked %d times", name, len(d.asked))
			}
		})
	}
}

// TestEndlessMetadata: a file that is longer than it may be is refused at its
// first piece.
func TestEndlessMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, p := newDepot(t), newPuller(t.TempDir())
		connected(d, p, time.Millisecond, 0)
		d.metadata["timestamp.json"] = []byte("{}")
		for _, size := range []uint64{mega + 1, 1 << 63, 1<<64 - 1} {
			d.twist = func(_ *wire.Get, b *wire.Block) []*wire.Block {
				b.Size = size
				return []*wire.Block{b}
			}
			if _, err := p.Metadata(t.Context(), "timestamp.json", mega); !errors.Is(err, ErrWrong) {
				t.Errorf("%d: %v", size, err)
			}
		}
		if len(d.asked) != 3 {
			t.Errorf("asked %d times", len(d.asked))
		}
	})
}

// TestLatePieces: what was asked for on an earlier connection is good all the
// same, because it is what is signed.
func TestLatePieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := made(t, mega)
		d, p := newDepot(t, b), newPuller(t.TempDir())
		n := connected(d, p, time.Millisecond, 0)
		var kept []*wire.Block
		d.twist = func(g *wire.Get, b *wire.Block) []*wire.Block {
			if g.GetTarget() == nil || b.GetIndex()%2 == 0 {
				return []*wire.Block{b}
			}
			kept = append(kept, b)
			return nil
		}
		done := make(chan error, 1)
		go func() { _, err := p.Fetch(t.Context(), w, nil); done <- err }()
		time.Sleep(20 * time.Millisecond)
		d.with(func() { d.twist = nil })
		for _, b := range kept {
			raw, err := wire.Marshal(b)
			if err != nil {
				t.Fatal(err)
			}
			p.Heard(raw)
		}
		synctest.Wait()
		n.connect(2)
		if err := <-done; err != nil || len(kept) == 0 || p.Stats().Bytes != uint64(w.Length)+uint64(w.count())*sumBytes {
			t.Errorf("%v, %d pieces were late, %+v", err, len(kept), p.Stats())
		}
	})
}

// TestImpossibleWants: what no bundle is.
func TestImpossibleWants(t *testing.T) {
	for _, w := range []Want{{}, {Length: -1}, {Length: 1, Piece: 1}, {Length: 1, Piece: PieceSize + 1}, {Length: 1 << 40}, {Length: 1<<63 - 1}} {
		if _, err := newPuller(t.TempDir()).Fetch(t.Context(), w, nil); err == nil || !strings.Contains(err.Error(), "can't be fetched") {
			t.Errorf("%+v: %v", w, err)
		}
	}
}

// FuzzAnswers: whatever comes as a Block, nothing but signed pieces is kept.
func FuzzAnswers(f *testing.F) {
	b, _ := made(f, 2*PieceSize+100)
	for _, m := range []*wire.Block{
		{Index: 1, Size: uint64(len(b)), Data: b[PieceSize : 2*PieceSize]}, {Index: 2, Size: 7, Data: []byte("1234567")},
		{Fault: wire.Block_FAULT_BUSY, Text: "later"}, {Fault: wire.Block_FAULT_MISSING}, {Index: 1 << 31, Size: 1 << 63},
	} {
		raw, err := wire.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, raw[:len(raw)/2])
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		list, err := bundle.Pieces(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		w := wanted(t, b)
		pt, err := openPart(t.TempDir(), w)
		if err != nil {
			t.Fatal(err)
		}
		defer pt.close()
		pt.sums = list
		p := newPuller(t.TempDir())
		p.Heard(one)
		r := &request{
			p: p, what: "x", name: func(*wire.Get) {}, piece: PieceSize, size: w.Length, most: w.Length,
			have: pt.have, put: pt.put, took: pt.took, window: 4, doubt: map[int]time.Duration{},
		}
		m := &memory{have: newSet(4)}
		open := &request{p: p, what: "x", name: func(*wire.Get) {}, piece: PieceSize, most: 3 * PieceSize, have: m.have, put: m.put, took: m.took, window: 4, doubt: map[int]time.Duration{}}
		for range 3 {
			for _, raw := range [][]byte{one, two} {
				for _, r := range []*request{r, open} {
					if piece, _ := r.take(raw, time.Now()); piece != nil {
						r.question()
						_ = r.keep(r.try(piece))
					}
					r.question()
				}
			}
		}
		for i := range w.count() {
			got := make([]byte, w.size(i))
			if _, err := pt.data.ReadAt(got, int64(i*PieceSize)); err != nil {
				t.Fatal(err)
			}
			if good := bytes.Equal(got, b[i*PieceSize:i*PieceSize+len(got)]); good != pt.have.has(i) || !good && len(bytes.Trim(got, "\x00")) != 0 {
				t.Fatalf("piece %d: there %v, good %v", i, pt.have.has(i), good)
			}
		}
		if len(m.joined()) > 3*PieceSize {
			t.Fatalf("%d bytes are kept", len(m.joined()))
		}
	})
}

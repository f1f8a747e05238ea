package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater/bundle"
)

const (
	device  = "press-1"
	patient = 20 * time.Second // for what must come, on a busy machine
)

func everything() bool { return os.Getenv("SIGHTLINE_FAULTS") == "full" }

// made is a bundle of so many bytes, which nothing can be guessed of, and what
// the signed metadata would say of it.
func made(t testing.TB, size int) ([]byte, Want) {
	t.Helper()
	b := make([]byte, size)
	random := rand.NewChaCha8([32]byte{byte(size)})
	if _, err := random.Read(b); err != nil {
		t.Fatal(err)
	}
	return b, wanted(t, b)
}

func wanted(t testing.TB, b []byte) Want {
	t.Helper()
	list, err := bundle.Pieces(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return Want{Digest: sha256.Sum256(b), Length: int64(len(b)), Piece: PieceSize, Pieces: sha256.Sum256(list)}
}

// depot is the fleet's side: it answers as a fleet does, unless twist makes
// something else of it.
type depot struct {
	mu       sync.Mutex
	bundles  map[[32]byte][]byte
	metadata map[string][]byte
	twist    func(*wire.Get, *wire.Block) []*wire.Block // of each answer; nil for as it is
	asked    []*wire.Get
	sent     int64 // bytes of bundles
	most     int   // pieces of one Get
}

func newDepot(t testing.TB, bundles ...[]byte) *depot {
	t.Helper()
	d := &depot{bundles: map[[32]byte][]byte{}, metadata: map[string][]byte{}}
	for _, b := range bundles {
		d.bundles[sha256.Sum256(b)] = b
	}
	return d
}

// with runs with the depot held.
func (d *depot) with(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do()
}

func (d *depot) sentBytes() (n int64) {
	d.with(func() { n = d.sent })
	return n
}

func (d *depot) file(g *wire.Get) []byte {
	switch f := g.GetFile().(type) {
	case *wire.Get_Metadata:
		return d.metadata[f.Metadata]
	case *wire.Get_Target:
		return d.bundles[[32]byte(f.Target)]
	case *wire.Get_Pieces:
		if b := d.bundles[[32]byte(f.Pieces)]; b != nil {
			list, _ := bundle.Pieces(bytes.NewReader(b)) // it reads memory
			return list
		}
	}
	return nil
}

// answer is what a Get is answered with, in order.
func (d *depot) answer(body []byte) (out [][]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := new(wire.Get)
	var blocks []*wire.Block
	if err := wire.Unmarshal(body, g); err != nil || g.GetPiece() == 0 || len(g.GetWanted()) > 8 {
		blocks = []*wire.Block{{Tid: g.GetTid(), Fault: wire.Block_FAULT_REQUEST, Text: "no request"}}
	}
	d.asked = append(d.asked, g)
	f, n := d.file(g), 0
	if f == nil {
		blocks = []*wire.Block{{Tid: g.GetTid(), Fault: wire.Block_FAULT_MISSING, Text: "nothing here"}}
	}
	for bit := range len(g.GetWanted()) * 8 {
		at := (int(g.GetFirst()) + bit) * int(g.GetPiece())
		if g.GetWanted()[bit/8]&(1<<(bit%8)) == 0 || at >= len(f) {
			continue
		}
		n++
		blocks = append(blocks, &wire.Block{Tid: g.GetTid(), Index: g.GetFirst() + uint32(bit), Size: uint64(len(f)), Data: f[at:min(at+int(g.GetPiece()), len(f))]})
	}
	if n == 0 && len(blocks) == 0 {
		blocks = []*wire.Block{{Tid: g.GetTid(), Fault: wire.Block_FAULT_REQUEST, Text: "the file has no such piece"}}
	}
	d.most = max(d.most, n)
	for _, b := range blocks {
		all := []*wire.Block{b}
		if d.twist != nil {
			all = d.twist(g, b)
		}
		for _, b := range all {
			raw, err := wire.Marshal(b)
			if err != nil {
				panic(err)
			}
			if g.GetTarget() != nil {
				d.sent += int64(len(b.GetData()))
			}
			out = append(out, raw)
		}
	}
	return out
}

// network is a link within this process, for what a network can't be told to do:
// each answer takes a while.
type network struct {
	d     *depot
	p     *Puller
	delay time.Duration // of an answer
	rate  int           // bytes/s of answers; 0 for any

	mu      sync.Mutex
	id      uint64
	changed chan struct{}
	free    time.Time // when the line is
	deaf    bool      // Say finds no room
	under   int64     // bytes on the way
	most    int64     // that ever were
}

func connected(d *depot, p *Puller, delay time.Duration, rate int) *network {
	n := &network{d: d, p: p, delay: delay, rate: rate, id: 1, changed: make(chan struct{})}
	p.Over(n)
	return n
}

func (n *network) Session() (uint64, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id, n.changed
}

// connect makes it another connection; 0 is none.
func (n *network) connect(id uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.id = id
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *network) Say(_ wire.Kind, _ byte, payload []byte) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.id == 0 || n.deaf {
		return false
	}
	session := n.id
	for _, b := range n.d.answer(payload) {
		takes := time.Duration(1) // so that they stay in order
		if n.rate > 0 {
			takes = time.Duration(len(b)) * time.Second / time.Duration(n.rate)
		}
		n.free = latest(n.free, time.Now()).Add(takes)
		at := n.free.Add(n.delay)
		n.under += int64(len(b))
		n.most = max(n.most, n.under)
		time.AfterFunc(time.Until(at), func() {
			n.mu.Lock()
			n.under -= int64(len(b))
			lost := n.id != session
			n.mu.Unlock()
			if !lost {
				n.p.Heard(b)
			}
		})
	}
	return true
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func newPuller(dir string) *Puller {
	return New(Config{Dir: dir, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

// same checks that the file is the bundle.
func same(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes, %v, which aren't the bundle's %d", path, len(got), err, len(want))
	}
}

// fetched gets the bundle and checks it.
func fetched(t testing.TB, ctx context.Context, p *Puller, w Want, want []byte) {
	t.Helper()
	path, err := p.Fetch(ctx, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, path, want)
}

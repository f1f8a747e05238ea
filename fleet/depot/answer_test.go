package depot

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/sync/wire"
)

// asker is a device that gets what is sent to it.
type asker struct {
	*Depot
	testing.TB
	blocks chan *wire.Block
}

func newAsker(t testing.TB, d *Depot) *asker { return &asker{d, t, make(chan *wire.Block, 1000)} }

func (a *asker) ask(g *wire.Get) {
	a.Helper()
	if g.Piece == 0 {
		g.Piece = PieceSize
	}
	b, err := wire.Marshal(g)
	must(a, err)
	a.Answer("dev-a", b, func(b *wire.Block) { a.blocks <- proto.Clone(b).(*wire.Block) })
}

func (a *asker) block() *wire.Block {
	a.Helper()
	select {
	case b := <-a.blocks:
		return b
	case <-time.After(20 * time.Second):
		a.Fatal("no block came")
		return nil
	}
}

// file fetches a file piece by piece.
func (a *asker) file(name func(g *wire.Get)) []byte {
	a.Helper()
	var out []byte
	for i := uint32(0); ; i++ {
		g := &wire.Get{Tid: 7, First: i, Wanted: []byte{1}}
		name(g)
		a.ask(g)
		b := a.block()
		if b.GetFault() != 0 || b.GetTid() != 7 || b.GetIndex() != i {
			a.Fatalf("%v", b)
		}
		if out = append(out, b.GetData()...); uint64(len(out)) >= b.GetSize() {
			return out
		}
	}
}

// TestPiecesAreTheFile: what a device puts together is what was put, of each
// kind of file.
func TestPiecesAreTheFile(t *testing.T) {
	d, _ := publishing(t, new(clock), "1.0.0")
	running(t, d)
	raw := archive(t, "1.1.0", 10*PieceSize+5)
	b := put(t, d, raw)
	digest := digestOf(t, b.Digest)
	a := newAsker(t, d)
	if got := a.file(func(g *wire.Get) { g.File = &wire.Get_Target{Target: digest[:]} }); !bytes.Equal(got, raw) {
		t.Error("the bundle is another")
	}
	if got := a.file(func(g *wire.Get) { g.File = &wire.Get_Pieces{Pieces: digest[:]} }); sha(got) != b.Pieces {
		t.Error("the pieces' hashes are others")
	}
	for _, name := range []string{"1.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"} {
		want, err := d.Metadata(name)
		must(t, err)
		if got := a.file(func(g *wire.Get) { g.File = &wire.Get_Metadata{Metadata: name} }); !bytes.Equal(got, want) {
			t.Errorf("%s is another", name)
		}
	}
	// One Get is answered with the pieces that are marked, up to a bound.
	a.ask(&wire.Get{Tid: 9, File: &wire.Get_Target{Target: digest[:]}, First: 1, Wanted: []byte{0b10100101, 0b11}})
	for _, want := range []uint32{1, 3, 6, 8, 9, 10} {
		if b := a.block(); b.GetIndex() != want || !bytes.Equal(b.GetData(), raw[want*PieceSize:min(len(raw), int(want+1)*PieceSize)]) {
			t.Errorf("piece %d: got %d, %v", want, b.GetIndex(), b.GetFault())
		}
	}
	a.ask(&wire.Get{Tid: 9, File: &wire.Get_Target{Target: digest[:]}, Wanted: bytes.Repeat([]byte{255}, 8)})
	a.ask(&wire.Get{Tid: 10, File: &wire.Get_Target{Target: digest[:]}, First: 99, Wanted: []byte{1}})
	n := 0
	for ; a.block().GetTid() == 9; n++ {
	}
	if n != maxPieces {
		t.Errorf("%d pieces came for one Get", n)
	}
}

// TestHostileGets: no request leads out of the depot or ends it.
func TestHostileGets(t *testing.T) {
	d, _ := publishing(t, new(clock), "1.0.0")
	running(t, d)
	must(t, os.WriteFile(filepath.Join(d.top.path, "secret.json"), []byte("secret"), 0o600))
	must(t, os.Symlink(filepath.Join(d.top.path, "secret.json"), d.top.in(metadataFolder).file("..json")))
	must(t, os.Mkdir(d.top.in(metadataFolder).file("folder.json"), 0o700))
	a := newAsker(t, d)
	one := []byte{1}
	meta := func(name string) *wire.Get {
		return &wire.Get{Tid: 3, File: &wire.Get_Metadata{Metadata: name}, Wanted: one}
	}
	target := func(digest []byte) *wire.Get {
		return &wire.Get{Tid: 3, File: &wire.Get_Target{Target: digest}, Wanted: one}
	}
	for name, c := range map[string]struct {
		get  *wire.Get
		want wire.Block_Fault
	}{
		"a path":              {meta("../secret.json"), wire.Block_FAULT_REQUEST},
		"a key":               {meta("../keys/snapshot.key"), wire.Block_FAULT_REQUEST},
		"an absolute path":    {meta("/etc/passwd"), wire.Block_FAULT_REQUEST},
		"a link":              {meta("..json"), wire.Block_FAULT_REQUEST},
		"unfinished":          {meta(".new-1.json"), wire.Block_FAULT_REQUEST},
		"a nul":               {meta("timestamp.json\x00"), wire.Block_FAULT_REQUEST},
		"a line":              {meta("timestamp.json\n"), wire.Block_FAULT_REQUEST},
		"long":                {meta(strings.Repeat("a", 900) + ".json"), wire.Block_FAULT_REQUEST},
		"very long":           {meta(strings.Repeat("a", 9000) + ".json"), wire.Block_FAULT_REQUEST},
		"a folder":            {meta("folder.json"), wire.Block_FAULT_BUSY},
		"missing metadata":    {meta("9.root.json"), wire.Block_FAULT_MISSING},
		"missing bundle":      {target(make([]byte, 32)), wire.Block_FAULT_MISSING},
		"missing pieces":      {&wire.Get{Tid: 3, File: &wire.Get_Pieces{Pieces: make([]byte, 32)}, Wanted: one}, wire.Block_FAULT_MISSING},
		"a short digest":      {target(make([]byte, 31)), wire.Block_FAULT_REQUEST},
		"an empty digest":     {target(nil), wire.Block_FAULT_REQUEST},
		"no file":             {&wire.Get{Tid: 3, Wanted: one}, wire.Block_FAULT_REQUEST},
		"no piece":            {&wire.Get{Tid: 3, File: meta("timestamp.json").File, Wanted: []byte{0, 0}}, wire.Block_FAULT_REQUEST},
		"tiny pieces":         {&wire.Get{Tid: 3, File: meta("timestamp.json").File, Wanted: one, Piece: 1}, wire.Block_FAULT_REQUEST},
		"huge pieces":         {&wire.Get{Tid: 3, File: meta("timestamp.json").File, Wanted: one, Piece: 1 << 31}, wire.Block_FAULT_REQUEST},
		"many pieces":         {&wire.Get{Tid: 3, File: meta("timestamp.json").File, Wanted: make([]byte, 9)}, wire.Block_FAULT_REQUEST},
		"beyond the end":      {&wire.Get{Tid: 3, File: meta("timestamp.json").File, Wanted: one, First: 1}, wire.Block_FAULT_REQUEST},
		"the last of numbers": {&wire.Get{Tid: 3, File: meta("timestamp.json").File, Wanted: bytes.Repeat([]byte{255}, 8), First: 1<<32 - 1}, wire.Block_FAULT_REQUEST},
	} {
		t.Run(name, func(t *testing.T) {
			a.ask(c.get)
			b := a.block()
			if b.GetFault() != c.want || b.GetText() == "" || len(b.GetData()) > 0 || b.GetTid() != 3 && name != "very long" {
				t.Errorf("%v", b)
			}
		})
	}
	a.Answer("dev-a", []byte("\xff\xff\xff"), func(b *wire.Block) { a.blocks <- proto.Clone(b).(*wire.Block) })
	if b := a.block(); b.GetFault() != wire.Block_FAULT_REQUEST {
		t.Errorf("%v", b)
	}
	select {
	case b := <-a.blocks:
		t.Errorf("one more came: %v", b)
	default:
	}
}

// TestEndlessGets: a device that asks without end, and takes nothing, doesn't
// hold up another, and makes the depot keep little.
func TestEndlessGets(t *testing.T) {
	d, _ := publishing(t, new(clock), "1.0.0")
	get, err := wire.Marshal(&wire.Get{Tid: 1, File: &wire.Get_Metadata{Metadata: "timestamp.json"}, Wanted: []byte{1}, Piece: PieceSize})
	must(t, err)
	stop := make(chan struct{})
	var mu sync.Mutex
	var faults []string
	stuck := func(b *wire.Block) {
		<-stop
		mu.Lock()
		defer mu.Unlock()
		if b.GetFault() != 0 {
			faults = append(faults, b.GetText())
		}
	}
	for range 10_000 {
		d.Answer("hostile", get, stuck)
	}
	if n := len(d.asks.of["hostile"]); n != maxAsked || d.asks.n != maxAsked {
		t.Errorf("%d and %d are kept", n, d.asks.n)
	}
	running(t, d)
	a := newAsker(t, d)
	for range 3 {
		a.file(func(g *wire.Get) { g.File = &wire.Get_Metadata{Metadata: "1.root.json"} })
	}
	close(stop)
	eventually(t, "the end of the queue", func() bool {
		d.asks.mu.Lock()
		defer d.asks.mu.Unlock()
		return len(d.asks.of) == 0 && d.asks.n == 0
	})
	mu.Lock()
	defer mu.Unlock()
	if len(faults) != 1 || !strings.Contains(faults[0], "wait already") {
		t.Errorf("it was told %q", faults)
	}
}

// TestManyDevicesAsk: the whole of what waits has a bound.
func TestManyDevicesAsk(t *testing.T) {
	d := fresh(t)
	for i := range 2 * maxAskedAll {
		d.Answer(fmt.Sprint("dev-", i), nil, func(*wire.Block) {})
	}
	if d.asks.n != maxAskedAll || len(d.asks.turns) != maxAskedAll {
		t.Errorf("%d are kept of %d devices", d.asks.n, len(d.asks.turns))
	}
	running(t, d)
	eventually(t, "the end of the queue", func() bool {
		d.asks.mu.Lock()
		defer d.asks.mu.Unlock()
		return d.asks.n == 0
	})
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s didn't come", what)
		}
	}
}

// TestFilesStayOpenWhileRead: the list of open files is bounded, and a file
// that is in use outlives its place there.
func TestFilesStayOpenWhileRead(t *testing.T) {
	dir := t.TempDir()
	var h handles
	path := func(i int) string { return filepath.Join(dir, strings.Repeat("x", i+1)) }
	for i := range maxOpen + 5 {
		must(t, os.WriteFile(path(i), []byte{byte(i)}, 0o600))
	}
	held, err := h.take(path(0))
	must(t, err)
	for i := range maxOpen + 5 {
		f, err := h.take(path(i))
		must(t, err)
		h.give(f)
	}
	if b, err := held.piece(0, make([]byte, PieceSize)); err != nil || !bytes.Equal(b, []byte{0}) || len(h.open) != maxOpen || len(h.used) != maxOpen {
		t.Errorf("%v %v, %d are open", b, err, len(h.open))
	}
	h.close()
	if _, err := held.piece(0, make([]byte, PieceSize)); err != nil {
		t.Error(err)
	}
	h.give(held)
	if _, err := held.piece(0, make([]byte, PieceSize)); err == nil {
		t.Error("it is open for ever")
	}
}

// TestDamagedBundleIsPutAnew: pieces of a file that was damaged, removed and put
// again are those of the new one, though the old one was open.
func TestDamagedBundleIsPutAnew(t *testing.T) {
	d := fresh(t)
	running(t, d)
	whole := archive(t, "1.0.0", 2*PieceSize)
	b := put(t, d, whole)
	path := d.bundlePath(b.Digest)
	damaged := bytes.Clone(whole)
	damaged[100] ^= 1
	must(t, os.WriteFile(path, damaged, 0o600))
	a := newAsker(t, d)
	fetch := func() []byte {
		return a.file(func(g *wire.Get) {
			sum := sha256.Sum256(whole)
			g.File = &wire.Get_Target{Target: sum[:]}
		})
	}
	if !bytes.Equal(fetch(), damaged) {
		t.Fatal("the file isn't damaged")
	}
	must(t, os.Remove(path))
	put(t, d, whole)
	if !bytes.Equal(fetch(), whole) {
		t.Error("the damaged pieces come still")
	}
}

// FuzzGet: whatever is asked, nothing but the depot's files is answered.
func FuzzGet(f *testing.F) {
	d, _ := publishing(f, new(clock), "1.0.0")
	for _, g := range []*wire.Get{
		{Tid: 1, File: &wire.Get_Metadata{Metadata: "timestamp.json"}, Wanted: []byte{1}, Piece: PieceSize},
		{Tid: 1, File: &wire.Get_Metadata{Metadata: "../secret.json"}, Wanted: []byte{1}, Piece: PieceSize},
		{Tid: 1, File: &wire.Get_Target{Target: make([]byte, 32)}, Wanted: []byte{255}, Piece: PieceSize},
	} {
		b, err := wire.Marshal(g)
		must(f, err)
		f.Add(b)
	}
	must(f, os.WriteFile(filepath.Join(d.top.path, "secret.json"), []byte("secret"), 0o600))
	f.Fuzz(func(t *testing.T, body []byte) {
		d.Answer("dev-a", body, func(b *wire.Block) {
			if bytes.Contains(b.GetData(), []byte("secret")) || len(b.GetData()) > PieceSize {
				t.Error("it leads out of the depot")
			}
			if _, err := wire.Marshal(b); err != nil {
				t.Error(err)
			}
		})
		<-d.asks.ready
		device, a := d.asks.next()
		d.serve(device, a, make([]byte, PieceSize))
		d.asks.done(device)
	})
}
